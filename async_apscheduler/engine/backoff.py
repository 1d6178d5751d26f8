"""How long to wait before the next try."""

from __future__ import annotations

FIRST = 0.1
LONGEST = 5.0


class Backoff:
    """Doubles from a tenth of a second to five, which bounds both the load and the recovery."""

    def __init__(self) -> None:
        self._delay = 0.0

    def failed(self) -> float:
        """Note a failure and return how many seconds to wait."""
        self._delay = min(self._delay * 2 or FIRST, LONGEST)
        return self._delay

    def succeeded(self) -> bool:
        """Note a success; return True if it ends a series of failures."""
        recovered = self._delay > 0
        self._delay = 0.0
        return recovered
