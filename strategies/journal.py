"""The append-only record of a search: JSON lines, one a result, safe against kill -9."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nni_evanet.compat import logger
from nni_evanet.errors import InputError

FILE_NAME = "evaluations.jsonl"


class JournalError(InputError):
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

    def repair(self) -> None:
        """Remove a last line that a crash cut short; its result was never acknowledged.

        For the one process that writes: a reader could take a line being written for a torn one.
        """
        if not self.path.exists():
            return
        complete, newline, torn = self.path.read_bytes().rpartition(b"\n")
        if torn:
            logger.warning("%s: removed an incomplete last line", self.path)
            os.truncate(self.path, len(complete + newline))

    def read(self) -> list[dict[str, Any]]:
        """Every complete result in the order of writing.

        Raises:
            JournalError: a line is not a result.
        """
        if not self.path.exists():
            return []
        complete, _, _ = self.path.read_text(encoding="utf-8").rpartition("\n")
        return [self._parse(n, line) for n, line in enumerate(complete.split("\n"), 1) if line]

    def _parse(self, number: int, line: str) -> dict[str, Any]:
        try:
            record = json.loads(line)
            missing = {"architecture", "fitness", "parent", "mutations"} - record.keys()
        except (json.JSONDecodeError, AttributeError):
            raise JournalError(f"{self.path}:{number}: not a JSON object") from None
        if missing:
            raise JournalError(f"{self.path}:{number}: no field {', '.join(sorted(missing))}")
        return record
