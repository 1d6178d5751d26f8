"""Jobs that do what a coroutine must not: they hold the event loop, each in another way."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

from tests.testapp.work import seen


async def hold(seconds: float) -> None:
    """Block in C, and let other threads work meanwhile."""
    time.sleep(seconds)  # noqa: ASYNC251  the point of all of these
    seen.append("held")


async def hold_in_task(seconds: float) -> None:
    """Block in a task that the job made."""
    await asyncio.create_task(hold(seconds), name="a task of its own")


async def hold_in_selector(seconds: float) -> None:
    """Block in a selector, as the idle loop does."""
    wait = f"import time; time.sleep({seconds})"
    subprocess.run([sys.executable, "-c", wait], capture_output=True, check=True)  # noqa: ASYNC221
    seen.append("held")


async def hold_in_python(seconds: float) -> None:
    """Block by work in Python, where threads take turns."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    seen.append("held")


async def work_in_turns(seconds: float) -> None:
    """Work as long, but give others a turn again and again: this is no offence."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await hold_in_python(0.04)
        await asyncio.sleep(0)


async def hold_interpreter(steps: int) -> None:
    """Block by one call into C that lets no other thread work, and so long that one can look."""
    sum(range(steps))
    time.sleep(0.5)  # noqa: ASYNC251
    seen.append("held")


async def hold_twice(seconds: float) -> None:
    """Block, give others a turn, and block again."""
    await hold(seconds)
    await asyncio.sleep(0.1)
    await hold(seconds)
