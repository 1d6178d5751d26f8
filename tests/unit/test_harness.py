"""The promises that the helpers of the tests make to all other tests."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.blocking import UNSEEN, watched_loops
from tests.support import await_until, wait_until


@pytest.mark.skipif(bool(UNSEEN), reason=UNSEEN)
@pytest.mark.may_block("the guard of this very test would count the call as well")
async def test_a_blocking_call_is_noted_even_when_its_error_is_swallowed() -> None:
    """A scheduler that logs every error and goes on cannot hide one."""
    with watched_loops() as caught:
        try:
            time.sleep(0)  # noqa: ASYNC251  the offence to be noted
        except Exception as error:
            swallowed = str(error)

    assert swallowed == "Blocking call to time.sleep"
    assert len(caught) == 1
    assert "time.sleep called at" in caught[0]
    assert __file__ in caught[0]


async def test_a_blocking_call_in_a_thread_is_no_matter() -> None:
    """Only the loop's own thread must not wait."""
    with watched_loops() as caught:
        await asyncio.to_thread(time.sleep, 0)

    assert caught == []


def test_waiting_ends_with_the_first_true_answer() -> None:
    """The answer itself is returned, for the test to look at."""
    answers = iter([None, "", "here"])

    assert wait_until(lambda: next(answers)) == "here"


async def test_waiting_on_the_loop_takes_functions_and_coroutine_functions() -> None:
    """A look at the database is a coroutine, a look at a list is not."""
    answers = iter([0, 0, 7, 0, 8])

    async def asks_elsewhere() -> int:
        return next(answers)

    assert await await_until(lambda: next(answers)) == 7
    assert await await_until(asks_elsewhere) == 8


async def test_waiting_in_vain_fails_with_the_last_answer() -> None:
    """The failure says how far things had come."""
    for_two_more = [1, 2]

    with pytest.raises(pytest.fail.Exception, match=r"in vain; the last answer was \[\]"):
        wait_until(lambda: for_two_more[2:], timeout=0)
    with pytest.raises(pytest.fail.Exception, match=r"in vain; the last answer was \[\]"):
        await await_until(lambda: for_two_more[2:], timeout=0)
