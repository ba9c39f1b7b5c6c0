"""The flat form of a search space: the file that `nnictl` and NNI's HPO tuners read.

Imports neither torch nor NNI.
"""

from __future__ import annotations

import json
from typing import Any

from nni_evanet.space import SearchSpace


def json_space(space: str | SearchSpace = "resnet") -> dict[str, dict[str, Any]]:
    """A space as NNI's `{label: {"_type": "choice", "_value": [...]}}`.

    `moduleN/streams` is a count: the first so many stream slots are active. The labels of the
    other slots, and those that a stream's type does not use, are ignored.

    Args:
        space: the space, or the name of a meta-architecture for the whole of it.

    Raises:
        ArchitectureError: no such meta-architecture.
    """
    space = SearchSpace(space) if isinstance(space, str) else space
    return {
        label: {"_type": "choice", "_value": list(choices)}
        for label, choices in space.choices().items()
    }


def json_space_text(space: str | SearchSpace = "resnet") -> str:
    """`json_space` as the text of a search-space file, one decision a line."""
    lines = (
        f"  {json.dumps(label)}: {json.dumps(choice)}"
        for label, choice in json_space(space).items()
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"
