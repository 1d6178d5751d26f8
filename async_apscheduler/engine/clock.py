"""The clock that all nodes share: the database's, carried on between two looks at it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

NEGLIGIBLE = timedelta(milliseconds=100)
"""A difference that may as well come from measuring it."""

NOTABLE = timedelta(seconds=1)
"""A difference that people should know of."""


class SharedClock:
    """The time of the database's server.

    This machine's own clock is never asked for the time of day, only for how long ago the server
    was asked, by a clock that nobody can set: a jump here changes nothing, and one of the server is
    followed at the next look.
    """

    def __init__(self) -> None:
        self._time = datetime.now(UTC)
        self._read_at = time.monotonic()

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        return self._time + timedelta(seconds=time.monotonic() - self._read_at)

    def set(self, ask: Callable[[], datetime]) -> timedelta:
        """Ask the server; return by how much its clock has jumped, or zero.

        An answer that was long on its way tells less than what is known, unless it differs by more.
        """
        before = time.monotonic()
        theirs = ask()
        after = time.monotonic()
        asked_at = (before + after) / 2
        expected = self._time + timedelta(seconds=asked_at - self._read_at)
        difference = theirs - expected
        if abs(difference) <= timedelta(seconds=(after - before) / 2):
            return timedelta(0)
        if abs(difference) <= NEGLIGIBLE:
            theirs = expected + difference / 10  # follows a drift, and not the noise
        self._time, self._read_at = theirs, asked_at
        return difference if abs(difference) > NOTABLE else timedelta(0)
