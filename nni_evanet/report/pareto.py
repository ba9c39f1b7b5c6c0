"""Which networks no other one beats at once in cost and in fitness."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def pareto_front(records: Iterable[Mapping[str, Any]], cost: str) -> list[Mapping[str, Any]]:
    """Records for which no other one is as cheap and fitter, or cheaper and as fit.

    Args:
        records: with a fitness and `metrics[cost]`.
        cost: the metric to be small, such as "gmacs".

    Returns:
        Them by rising cost, hence by rising fitness; of equals the first.
    """
    front: list[Mapping[str, Any]] = []
    for record in sorted(records, key=lambda r: (r["metrics"][cost], -r["fitness"])):
        if not front or record["fitness"] > front[-1]["fitness"]:
            front.append(record)
    return front
