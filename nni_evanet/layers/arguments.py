"""Checks of what layers and networks are built with."""

from collections.abc import Sequence


def check_positive(**values: int | Sequence[int]) -> None:
    """Raise a ValueError that names the first argument that is not positive throughout."""
    for name, value in values.items():
        numbers = value if isinstance(value, Sequence) else (value,)
        if not all(isinstance(number, int) and number > 0 for number in numbers):
            raise ValueError(f"{name}: {value!r} is not a positive whole number, or made of them")
