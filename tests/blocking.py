"""Catch calls that block a running event loop, swallowed or not.

blockbuster raises in the place of the blocking call. A scheduler that never dies logs such an
error and goes on, so the test would pass; therefore every error is also written down here.

It comes with the extra `blocking`. Without it nothing is caught, and pytest's header says so.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

try:
    import blockbuster.blockbuster
    from blockbuster import BlockBuster, BlockingError
except ModuleNotFoundError:
    UNSEEN = "blockbuster is not installed: pip install -e '.[blocking]'"
else:
    UNSEEN = ""
"""Why blocked loops go unseen; empty when they are seen."""

MAY_BLOCK_IN = [
    # A module is imported once in a process; which test meets that depends on their order.
    ("<frozen importlib._bootstrap>", {"_find_and_load"}),
    # So is a time zone: a small local file, read by whoever names the zone first.
    ("zoneinfo/_tzpath.py", {"find_tzfile"}),
    ("zoneinfo/_common.py", {"load_tzdata", "load_data"}),
    # The threads of a measured run share one short lock, taken when a line is new to coverage.
    ("coverage/collector.py", {"lock_data"}),
    # Where the standard handlers write is up to whoever configures them; here to /dev/null.
    ("logging/__init__.py", {"emit"}),
]
"""Ends of file names, and the functions there below which anything may block."""

NOT_WORTH_SHOWING = ("/blockbuster/", "/asyncio/", "/_pytest/", "/pluggy/", "/pytest_asyncio/")
FRAMES_SHOWN = 5
MOST_CAUGHT = 10
"""More than these tell nothing new, and a loop that spins would fill the memory with them."""


@contextmanager
def watched_loops() -> Iterator[list[str]]:
    """Make blocking calls on any running loop raise; yield the list of where they were made."""
    caught: list[str] = []
    if UNSEEN:
        yield caught
        return

    class RecordedBlockingError(BlockingError):
        def __init__(self, function: str) -> None:
            super().__init__(function)
            if len(caught) < MOST_CAUGHT:
                caught.append(f"{function} called at\n{_place_of_call()}")

    watch = BlockBuster()
    for function in watch.functions.values():
        for file, callers in MAY_BLOCK_IN:
            function.can_block_in(file, callers)
    with mock.patch.object(blockbuster.blockbuster, "BlockingError", RecordedBlockingError):
        watch.activate()
        try:
            yield caught
        finally:
            watch.deactivate()


def _place_of_call() -> str:
    frames = [
        frame
        for frame in traceback.extract_stack()
        if not any(part in frame.filename for part in (__file__, *NOT_WORTH_SHOWING))
    ]
    return "".join(traceback.format_list(frames[-FRAMES_SHOWN:]))
