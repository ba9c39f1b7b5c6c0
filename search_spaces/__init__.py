"""The paper's search spaces, as NNI ModelSpaces and as flat search-space files."""

from typing import TYPE_CHECKING, Any

from nni_evanet.search_spaces.flat import json_space, json_space_text
from nni_evanet.search_spaces.samples import architecture_of, sample_of

if TYPE_CHECKING:
    from nni_evanet.search_spaces.model_space import InceptionSpace, ResNetSpace

__all__ = [
    "InceptionSpace",
    "ResNetSpace",
    "architecture_of",
    "json_space",
    "json_space_text",
    "sample_of",
]


def __getattr__(name: str) -> Any:
    # nni.nas takes 7 s to import, and writing a search-space file does not need it.
    if name in ("InceptionSpace", "ResNetSpace"):
        from nni_evanet.search_spaces import model_space

        return getattr(model_space, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
