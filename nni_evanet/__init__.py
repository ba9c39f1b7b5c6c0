"""Search, train and ensemble video architectures with NNI, after EvaNet (ICCV 2019)."""

from typing import TYPE_CHECKING, Any

from nni_evanet.architecture import Architecture

if TYPE_CHECKING:
    from nni_evanet.networks import build_network
    from nni_evanet.networks.files import load_network

__all__ = ["Architecture", "build_network", "load_network"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Torch is imported with the first network, not with the package: the tuner and the command
    # line start without it.
    if name == "build_network":
        from nni_evanet.networks import build_network

        return build_network
    if name == "load_network":
        from nni_evanet.networks.files import load_network

        return load_network
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
