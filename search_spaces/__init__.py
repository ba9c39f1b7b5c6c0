"""The paper's search spaces, as NNI ModelSpaces and as flat search-space files."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nni_evanet.search_spaces.flat import json_space, json_space_text
from nni_evanet.search_spaces.samples import architecture_of, sample_of

if TYPE_CHECKING:
    from nni_evanet.search_spaces.model_space import InceptionSpace, ResNetSpace
    from nni_evanet.search_spaces.supernet import (
        InceptionSuperSpace,
        ResNetSuperSpace,
        architecture_of_path,
        path_of,
    )

__all__ = [
    "InceptionSpace",
    "InceptionSuperSpace",
    "ResNetSpace",
    "ResNetSuperSpace",
    "architecture_of",
    "architecture_of_path",
    "json_space",
    "json_space_text",
    "path_of",
    "sample_of",
]


_LAZY = {
    "InceptionSpace": "model_space",
    "ResNetSpace": "model_space",
    "InceptionSuperSpace": "supernet",
    "ResNetSuperSpace": "supernet",
    "architecture_of_path": "supernet",
    "path_of": "supernet",
}


def __getattr__(name: str) -> Any:
    # nni.nas takes 7 s to import, and writing a search-space file does not need it.
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
