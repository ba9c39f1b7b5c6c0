"""The training batches as Lightning wants them: one long epoch that can be entered anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor


class ResumableBatches:
    """All micro-batches of a training; after `load_state_dict` those that were left.

    Lightning keeps the state in its checkpoints. Its length is that of the whole training, which is
    what Lightning counts against.

    Args:
        batches: gives the micro-batches from a number on.
        length: how many there are.
    """

    def __init__(
        self, batches: Callable[[int], Iterable[tuple[Tensor, Tensor]]], *, length: int
    ) -> None:
        self._batches, self._length = batches, length
        self._done = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self._batches(self._done):
            self._done += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """How many micro-batches have been handed out."""
        return {"done": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where that state was taken."""
        self._done = state["done"]
