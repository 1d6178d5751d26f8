"""Helpers that tests import by name."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

import pytest

T = TypeVar("T")

PAUSE = 0.01
"""Seconds between two looks at a condition."""

committed_data = pytest.mark.django_db(transaction=True, databases=["default", "other"])
"""For tests with threads, lanes or child processes: rows are committed, so others see them.

The default mark of pytest-django keeps a test in one transaction, which only its own thread sees.
"""


def wait_until(predicate: Callable[[], T], timeout: float = 10) -> T:
    """Return the first true answer of the predicate; fail the test after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (answer := predicate()):
        if time.monotonic() > deadline:
            pytest.fail(_in_vain(timeout, answer))
        time.sleep(PAUSE)
    return answer


@overload
async def await_until(
    predicate: Callable[[], Coroutine[Any, Any, T]], timeout: float = ...
) -> T: ...


@overload
async def await_until(predicate: Callable[[], T], timeout: float = ...) -> T: ...


async def await_until(predicate: Callable[[], Any], timeout: float = 10) -> Any:
    """See wait_until(); the predicate may also be a coroutine function."""
    deadline = time.monotonic() + timeout
    while not (answer := await _awaited(predicate())):
        if time.monotonic() > deadline:
            pytest.fail(_in_vain(timeout, answer))
        await asyncio.sleep(PAUSE)
    return answer


async def _awaited(answer: Any) -> Any:
    return await answer if inspect.isawaitable(answer) else answer


def _in_vain(timeout: float, answer: object) -> str:
    return f"Waited {timeout} s in vain; the last answer was {answer!r}."
