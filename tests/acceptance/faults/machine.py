"""What this machine must have for some of the faults, and why it cannot play them if it has not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

LIBRARY_VARIABLE = "FAKETIME_LIBRARY"
PLACES = ("usr/lib/*/faketime/libfaketimeMT.so.1", "usr/local/lib/faketime/libfaketimeMT.so.1")


def faketime_library() -> Path | None:
    """Return the library that gives a process a wrong clock, if it is there."""
    if named := os.environ.get(LIBRARY_VARIABLE):
        return Path(named)
    found = (path for place in PLACES for path in Path("/").glob(place))
    return next(found, None)


def no_faketime() -> str:
    """Return why clocks cannot be set wrong here, or nothing."""
    if (library := faketime_library()) is not None and library.exists():
        return ""
    return (
        "libfaketime is not installed (Debian: `apt install libfaketime`; or let "
        f"{LIBRARY_VARIABLE} name a libfaketimeMT.so.1)"
    )


def no_limits() -> str:
    """Return why a running process cannot be given a smaller limit here, or nothing."""
    return "" if sys.platform == "linux" else "only Linux changes the limits of a running process"
