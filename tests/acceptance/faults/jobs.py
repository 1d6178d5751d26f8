"""Jobs that do harm to the process that runs them, or watch it; each enters itself in the ledger.

The ones that behave are in tests/testapp/ledger.py.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import threading
import time

from asgiref.sync import sync_to_async

from tests.testapp import work
from tests.testapp.ledger import enter, enter_plain
from tests.testapp.models import Note

TICK = 0.1
"""Seconds between two entries of tick()."""

kept: list[object] = []
"""What leak() and keep_connection() never give back."""


async def tick(key: str, seconds: float) -> None:
    """Enter `key-0`, `key-1` and so on: proof that the loop turns, with or without a database."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    number = 0
    while loop.time() < until:
        await enter(f"{key}-{number}")
        number += 1
        await asyncio.sleep(TICK)


async def block(key: str, seconds: float) -> None:
    """Block the event loop, as a forgotten `time.sleep` does."""
    await enter(key)
    time.sleep(seconds)  # noqa: ASYNC251  the fault itself


async def hold_everything(key: str, seconds: float) -> None:
    """Block all threads of the process: the C function is called without giving up the GIL."""
    await enter(key)
    ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))


async def leave(key: str) -> None:
    """End the process without a word."""
    await enter(key)
    os._exit(1)


async def crash(key: str) -> None:
    """End the process as a bug in a C extension does."""
    await enter(key)
    os.kill(os.getpid(), signal.SIGSEGV)
    await asyncio.sleep(60)


async def throw(key: str) -> None:
    """Raise what the key says after its first dash."""
    await enter(key)
    await work.throw(key.partition("-")[2])


def throw_plain(key: str) -> None:
    """See throw(); in a thread."""
    enter_plain(key)
    work.throw_in_thread(key.partition("-")[2])


async def wait_for_ever(key: str) -> None:
    """Wait for what never comes."""
    await enter(key)
    await asyncio.Event().wait()


def work_for_ever(key: str) -> None:
    """Never give the thread back."""
    enter_plain(key)
    while True:
        time.sleep(0.01)


async def query(key: str) -> None:
    """Use the async ORM."""
    await enter(key)
    await Note.objects.acount()


def query_plain(key: str) -> None:
    """Use the ORM in a thread."""
    enter_plain(key)
    Note.objects.count()


async def keep_connection(key: str) -> None:
    """Use the ORM in a thread that never ends, so that its connection is never closed."""
    await enter(key)

    def count_and_stay() -> None:
        Note.objects.count()
        threading.Event().wait()

    thread = threading.Thread(target=count_and_stay, daemon=True)
    kept.append(thread)
    await sync_to_async(thread.start)()


async def fall_at_odd(key: str) -> str:
    """Raise for every other key; with so many runs the ledger would be what grows."""
    if int(key.rpartition("-")[2]) % 2:
        raise ValueError(f"{key} falls")
    return key


async def leak_at_odd(key: str) -> str:
    """See fall_at_odd(), and keep 100 bytes of each run."""
    kept.append(bytearray(100))
    return await fall_at_odd(key)
