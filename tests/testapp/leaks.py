"""Jobs that are careless with what they were given."""

from __future__ import annotations

import logging
from typing import Any

from async_apscheduler import current_run

logger = logging.getLogger(__name__)


async def blurt_out(address: str, password: str) -> Any:
    """Log, report and raise what should have been kept."""
    logger.warning("connecting to %s", address)
    await current_run.aset_progress(1, 2, f"with password={password}")
    raise ConnectionError(f"cannot reach {address} with password='{password}'")


def return_everything(**values: Any) -> Any:
    """Return what it was called with."""
    return values


def blurt_out_in_thread(password: str) -> None:
    """Raise the password."""
    raise ValueError(f"password={password}")


FORGED = "x\r\n12:00:00 nightly succeeded\u2028in 0 s \x1b[2K\x1b[31m \u202e"
"""What looks like another line of a log, for those who do not look closely."""


async def forge() -> None:
    """Raise what looks like other lines of a log, and goes on for a megabyte."""
    raise ValueError(FORGED + "y" * 1_000_000)
