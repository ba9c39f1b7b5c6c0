"""What a trial reported, as a fitness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nni_evanet.compat import logger


def read_metric(value: Any) -> tuple[float | None, Mapping[str, Any]]:
    """A final metric, a number or a dict whose `default` is one, as its number and as a dict.

    The number is None, and the log says so, where there is none: the evaluation has failed.
    """
    metrics = value if isinstance(value, dict) else {"default": value}
    fitness = metrics.get("default")
    if isinstance(fitness, bool) or not isinstance(fitness, int | float):
        logger.error("not a metric, counted as a failure: %r", value)
        return None, metrics
    return fitness, metrics
