"""Jobs for tests of the scheduler: each kind of work, and each way to go wrong."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from asgiref.sync import sync_to_async
from django.db import transaction

from async_apscheduler import current_run
from tests.testapp.models import Note

seen: list[Any] = []
"""What jobs of this process have left here; tests clear it."""

gates: dict[str, asyncio.Event] = {}
"""Events that coroutine jobs wait for, made by the test."""

thread_gate = threading.Event()
"""What plain functions wait for."""


async def anote(text: str = "done") -> str:
    """Write a note with the async ORM."""
    await Note.objects.acreate(text=text)
    return text


def note(text: str = "done") -> str:
    """Write a note from a thread."""
    Note.objects.create(text=text)
    return text


async def mark(value: Any = None) -> None:
    """Leave a value in this process."""
    seen.append(value)


async def use_up(values: list[int], *, options: dict[str, Any]) -> None:
    """Leave its arguments in this process, and change them."""
    use_up_plain(values, options=options)


def use_up_plain(values: list[int], *, options: dict[str, Any]) -> None:
    """The same, from a thread."""
    seen.append((list(values), dict(options)))
    values.pop()
    options.clear()


async def leave_task_behind(name: str) -> None:
    """Return, but leave a task running that writes a note when the test opens a gate."""
    gates[name] = asyncio.Event()

    async def write_later() -> None:
        await gates[name].wait()
        await Note.objects.acreate(text=name)

    left_behind.append(asyncio.create_task(write_later()))


left_behind: list[asyncio.Task[None]] = []
"""Tasks of leave_task_behind(); the loop itself would forget them."""


async def block_loop(seconds: float) -> None:
    """Do what a coroutine must not do."""
    seen.append("blocks")
    time.sleep(seconds)  # noqa: ASYNC251  # that is what it is for
    seen.append("blocked")


def mark_plain(value: Any = None) -> None:
    """Leave a value in this process, from a thread."""
    seen.append(value)


async def wait_for_gate(name: str) -> str:
    """Wait until the test opens a gate."""
    seen.append(f"{name} began")
    await gates[name].wait()
    return name


def wait_in_thread() -> None:
    """Wait in a thread until the test opens its gate."""
    seen.append("thread began")
    thread_gate.wait(30)


def wait_in_thread_and_fall() -> None:
    """Wait in a thread until the test opens its gate, then raise."""
    wait_in_thread()
    raise ValueError("fell at last")


async def read_then_wait(name: str) -> None:
    """Touch the database once, then wait for a gate."""
    await Note.objects.acount()
    seen.append(name)
    await gates["network"].wait()


def read_then_wait_in_thread() -> None:
    """Touch the database once in a thread, then wait for its gate."""
    Note.objects.count()
    seen.append("thread began")
    thread_gate.wait(30)


async def fall() -> None:
    """Raise an ordinary exception."""
    raise ValueError("the ladder broke")


def fall_in_thread() -> None:
    """Raise an ordinary exception in a thread."""
    raise ValueError("the ladder broke in a thread")


class UnspeakableError(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


RAISED: dict[str, Any] = {
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "BaseException": lambda: BaseException("bare"),
    "StopIteration": lambda: StopIteration("stop"),
    "CancelledError": asyncio.CancelledError,
    "RecursionError": lambda: RecursionError("too deep"),
    "UnspeakableError": UnspeakableError,
    "10 MB": lambda: ValueError("x" * 10_000_000),
    "NUL": lambda: ValueError("a\0b\ud800c"),
}


async def throw(kind: str) -> None:
    """Raise something unusual."""
    raise RAISED[kind]()


async def throw_in_a_task(kind: str) -> None:
    """Raise something unusual in a task of its own, and wait for that."""
    await asyncio.gather(throw(kind))


def throw_in_thread(kind: str) -> None:
    """Raise something unusual in a thread."""
    raise RAISED[kind]()


async def many_queries(number: int) -> None:
    """Use the async ORM in each of its ways."""
    await Note.objects.acreate(text=f"{number}")
    first = await Note.objects.aget(text=f"{number}")
    texts = [note.text async for note in Note.objects.filter(pk=first.pk)]
    streamed = [note.text async for note in Note.objects.filter(pk=first.pk).aiterator()]
    assert texts == streamed == [f"{number}"]
    await sync_to_async(_atomic_block)(number)


def _atomic_block(number: int) -> None:
    with transaction.atomic():
        note = Note.objects.select_for_update().get(text=f"{number}")
        note.text = f"{number} changed"
        note.save()


async def tell_about_itself() -> None:
    """Leave what current_run says, and report progress."""
    seen.append((current_run.id, current_run.job_id, current_run.scheduled_at, current_run.attempt))
    await current_run.aset_progress(1, 2, "half")


def tell_about_itself_in_thread() -> None:
    """Leave what current_run says in a thread, and report progress."""
    seen.append((current_run.id, current_run.job_id, current_run.scheduled_at, current_run.attempt))
    current_run.set_progress(1, 2, "half")


async def sleep_long(seconds: float = 60) -> None:
    """Sleep."""
    await asyncio.sleep(seconds)


def sleep_in_thread(seconds: float) -> None:
    """Sleep in a thread."""
    time.sleep(seconds)


async def succeed_at_attempt(number: int) -> str:
    """Fail until the given attempt."""
    if current_run.attempt < number:
        raise ValueError(f"attempt {current_run.attempt}")
    return "at last"
