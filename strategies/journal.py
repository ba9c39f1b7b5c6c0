"""The append-only record of a search: JSON lines, one a result, safe against kill -9."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FILE_NAME = "evaluations.jsonl"

_logger = logging.getLogger(__name__)


class JournalError(ValueError):
    """A journal that cannot be read; the message names the file and the line."""


class Journal:
    """The evaluations of one experiment, as `Evolution.dump` gives them, with the time of each.

    Args:
        path: the file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one result and wait until it is on the disk."""
        line = json.dumps({**record, "time": datetime.now(UTC).isoformat(timespec="milliseconds")})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[dict[str, Any]]:
        """Every result in the order of writing.

        Raises:
            JournalError: a line is not a result. A last line that was cut short by a crash is
                removed instead: its result was never acknowledged.
        """
        if not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8")
        complete, newline, torn = text.rpartition("\n")
        if torn:
            _logger.warning("%s: removed an incomplete last line", self.path)
            with self.path.open("r+b") as file:
                file.truncate(len((complete + newline).encode()))
        return [self._parse(n, line) for n, line in enumerate(complete.splitlines(), 1)]

    def _parse(self, number: int, line: str) -> dict[str, Any]:
        try:
            record = json.loads(line)
            missing = {"architecture", "fitness", "parent", "mutations"} - record.keys()
        except (json.JSONDecodeError, AttributeError):
            raise JournalError(f"{self.path}:{number}: not a JSON object") from None
        if missing:
            raise JournalError(f"{self.path}:{number}: no field {', '.join(sorted(missing))}")
        return record
