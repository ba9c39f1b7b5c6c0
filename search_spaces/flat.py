"""The flat form of a search space: the file that `nnictl` and NNI's HPO tuners read.

Imports neither torch nor NNI.
"""

from __future__ import annotations

import json
from typing import Any

from nni_evanet.architecture import sample_choices


def json_space(meta: str = "resnet") -> dict[str, dict[str, Any]]:
    """A meta-architecture's space as NNI's `{label: {"_type": "choice", "_value": [...]}}`.

    `moduleN/streams` is a count: the first so many stream slots are active. The labels of the
    other slots, and those that a stream's type does not use, are ignored.

    Raises:
        ArchitectureError: no such meta-architecture.
    """
    return {
        label: {"_type": "choice", "_value": list(choices)}
        for label, choices in sample_choices(meta).items()
    }


def json_space_text(meta: str = "resnet") -> str:
    """`json_space` as the text of a search-space file, one decision a line.

    Raises:
        ArchitectureError: no such meta-architecture.
    """
    lines = (
        f"  {json.dumps(label)}: {json.dumps(choice)}" for label, choice in json_space(meta).items()
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"
