"""The decorator for functions that use the database under APScheduler's own schedulers."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from unittest import mock

import pytest
from asgiref.sync import sync_to_async
from django import db

from async_apscheduler import util
from async_apscheduler.references import reference_to, resolve

Log = list[tuple[str, str]]


@pytest.fixture
def log() -> Iterator[Log]:
    """What happens, and in which thread, while Django's own function is replaced."""
    steps: Log = []

    def closes() -> None:
        steps.append(("close", threading.current_thread().name))

    with mock.patch.object(db, "close_old_connections", closes):
        yield steps


@util.close_old_connections
def decorated(number: int, *, word: str = "") -> str:
    """Repeat a word."""
    return word * number


@util.close_old_connections
async def decorated_coroutine(number: int, *, word: str = "") -> str:
    """Repeat a word."""
    return word * number


def test_a_function_is_called_between_two_clean_ups(log: Log) -> None:
    """In its own thread, where its connections are."""

    @util.close_old_connections
    def work() -> str:
        log.append(("work", threading.current_thread().name))
        return "result"

    result = work()

    here = threading.current_thread().name
    assert result == "result"
    assert log == [("close", here), ("work", here), ("close", here)]


async def test_a_coroutine_function_is_awaited_between_two_clean_ups(log: Log) -> None:
    """In the thread where Django's async methods of that coroutine run their queries."""

    def query() -> None:
        log.append(("query", threading.current_thread().name))

    @util.close_old_connections
    async def work() -> str:
        await sync_to_async(query)()
        return "result"

    result = await work()

    assert result == "result"
    assert [step for step, _ in log] == ["close", "query", "close"]
    assert len({thread for _, thread in log}) == 1
    assert log[0][1] != threading.current_thread().name


def test_what_a_function_raises_passes_after_the_clean_up(log: Log) -> None:
    """A dead connection must not wait for the next run."""

    @util.close_old_connections
    def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()

    assert [step for step, _ in log] == ["close", "close"]


async def test_what_a_coroutine_raises_passes_after_the_clean_up(log: Log) -> None:
    """As with a function."""

    @util.close_old_connections
    async def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()

    assert [step for step, _ in log] == ["close", "close"]


async def test_the_decorated_function_stays_what_it_was() -> None:
    """Same arguments, same kind, and a reference that a job can be stored with."""
    answers = decorated(2, word="a"), await decorated_coroutine(2, word="b")

    assert answers == ("aa", "bb")
    assert not inspect.iscoroutinefunction(decorated)
    assert inspect.iscoroutinefunction(decorated_coroutine)
    assert decorated.__doc__ == decorated_coroutine.__doc__ == "Repeat a word."
    assert reference_to(decorated) == f"{__name__}:decorated"


def test_a_job_can_be_stored_with_the_decorated_function(settings: object) -> None:
    """What its reference leads to is the decorated function, not the bare one."""
    settings.ASYNC_APSCHEDULER = {"ALLOWED_MODULES": ["tests"]}  # type: ignore[attr-defined]  # pytest-django's

    assert resolve(reference_to(decorated_coroutine)) is decorated_coroutine
