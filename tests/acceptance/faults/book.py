"""The ledger as its reader sees it: which job began and ended when, and in which process.

It is what runs are counted by. The scheduler's own tables may agree with each other and still be
wrong: a row that is unique for a fire cannot show that the fire was run twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: `kind` is "start" or "end"."""

    kind: str
    key: str
    pid: int
    at: float
    """Seconds since the epoch, by the clock of the process that wrote it."""


class Book:
    """Reads the ledger anew at each question."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> Iterator[Entry]:
        """Yield the lines in the order they were written, without one that is being written."""
        if not self.path.exists():
            return
        complete, _, _ = self.path.read_text().rpartition("\n")
        for line in complete.splitlines():
            kind, key, pid, nanoseconds = line.split("\t")
            yield Entry(kind, key, int(pid), int(nanoseconds) / 1e9)

    def starts(self) -> Counter[str]:
        """Count the starts of each key."""
        return Counter(entry.key for entry in self._started())

    def ends(self) -> Counter[str]:
        """Count the ends of each key."""
        return Counter(entry.key for entry in self.entries() if entry.kind == "end")

    def starts_by_process(self) -> Counter[int]:
        """Count the starts in each process."""
        return Counter(entry.pid for entry in self._started())

    def started_in(self, pid: int) -> set[str]:
        """Return the keys that a process has started."""
        return {entry.key for entry in self._started() if entry.pid == pid}

    def ended_in(self, pid: int) -> set[str]:
        """Return the keys that a process has ended."""
        entries = (entry for entry in self.entries() if entry.kind == "end")
        return {entry.key for entry in entries if entry.pid == pid}

    def started_at(self, key: str) -> float | None:
        """Return when a key was first started, or None."""
        return next((entry.at for entry in self._started() if entry.key == key), None)

    def first_start_after(self, moment: float, *, prefix: str = "") -> float | None:
        """Return when a run was first started after a moment, of keys that begin with `prefix`."""
        times = (
            entry.at
            for entry in self._started()
            if entry.at > moment and entry.key.startswith(prefix)
        )
        return min(times, default=None)

    def longest_gap(self, prefix: str) -> float:
        """Return the longest time between two starts of keys that begin with `prefix`."""
        times = [entry.at for entry in self._started() if entry.key.startswith(prefix)]
        return max((b - a for a, b in pairwise(times)), default=0.0)

    def _started(self) -> Iterator[Entry]:
        return (entry for entry in self.entries() if entry.kind == "start")
