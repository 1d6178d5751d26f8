"""What another thread can see of an event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from async_apscheduler.context import MAX_LOG, RunContext, running
from async_apscheduler.engine.turns import Turn, turn_of
from tests.support import wait_until
from tests.testapp import blockers

SECONDS = 0.5


class Loop:
    """An event loop that runs in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def do(self, work: Callable[[], Any]) -> None:
        """Call `work` on the loop; returns at once."""
        self.loop.call_soon_threadsafe(work)

    def turn(self) -> Turn | None:
        """Return what it is at."""
        return turn_of(self.loop, self._thread.ident or 0)

    def end(self) -> None:
        """End the thread."""
        self.do(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@pytest.fixture
def other() -> Iterator[Loop]:
    """A loop to look at."""
    loop = Loop()
    yield loop
    loop.end()


def run_context() -> RunContext:
    """Return the context of some run."""
    return RunContext(id=1, job_id="job", scheduled_at=datetime.now(UTC))


def seen(other: Loop) -> Turn:
    """Return what the loop is at, as soon as it is at something."""
    turn = wait_until(other.turn)
    assert turn is not None
    return turn


@pytest.mark.may_block("the loop of another thread is what is looked at")
@pytest.mark.parametrize("function", [blockers.hold, blockers.hold_in_selector])
def test_a_blocked_loop_is_told_from_a_waiting_one(other: Loop, function: Any) -> None:
    """A job that waits in a selector, as the loop itself does, is seen all the same."""
    assert wait_until(lambda: other.turn() is None)

    other.do(lambda: other.loop.create_task(function(SECONDS)))
    turn = seen(other)

    assert turn.task is not None
    assert turn.stack()[0].name == function.__name__
    assert wait_until(lambda: other.turn() is None)


@pytest.mark.may_block("the loop of another thread is what is looked at")
@pytest.mark.parametrize("function", [blockers.hold, blockers.hold_in_task])
def test_a_task_leads_to_its_run(other: Loop, function: Any) -> None:
    """Be it the job's first task or one that the job has made."""
    run = run_context()

    def begin() -> None:
        running.set(run)
        other.loop.create_task(function(SECONDS))

    other.do(begin)
    wait_until(lambda: (turn := other.turn()) is not None and turn.stack()[-1].name == "hold")

    assert seen(other).run is run


@pytest.mark.may_block("the loop of another thread is what is looked at")
def test_a_callback_is_known_by_where_it_is(other: Loop) -> None:
    """It belongs to no task, and so to no run."""
    other.do(lambda: time.sleep(SECONDS))
    turn = seen(other)
    again = seen(other)
    wait_until(lambda: other.turn() is None)
    other.do(lambda: time.sleep(SECONDS))
    next_one = seen(other)

    assert turn.run is None
    assert turn.name == "a callback"
    assert turn.stack()[0].filename == __file__
    assert again.is_same_as(turn)
    assert not next_one.is_same_as(turn)


@pytest.mark.may_block("the loop of another thread is what is looked at")
def test_the_loop_tells_how_long_it_has_been_at_it(other: Loop) -> None:
    """It counts from when the loop last gave a turn to whatever was ready."""
    for _ in range(2):
        other.do(lambda: time.sleep(SECONDS))
        assert seen(other).longest() < SECONDS / 2
        assert wait_until(lambda: (turn := other.turn()) is None or turn.longest() > SECONDS / 2)
        assert seen(other).longest() > SECONDS / 2
        wait_until(lambda: other.turn() is None)


def test_a_loop_that_does_not_run_is_at_nothing() -> None:
    """What its former thread does is no turn of the loop."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(asyncio.sleep(0))

    assert turn_of(loop, threading.get_ident()) is None
    loop.close()


def test_no_moment_of_a_block_counts_twice() -> None:
    """Two watchdogs on one loop see the same block."""
    run = run_context()

    run.note_blocked(10.0, 11.0)
    run.note_blocked(10.5, 11.5)
    run.note_blocked(10.2, 11.4)
    run.note_blocked(20.0, 20.25)

    assert run.loop_blocked_seconds == pytest.approx(1.75)


def test_a_full_log_takes_no_line() -> None:
    """A line is cut to the room that is left, also when it takes the place of a shorter one."""
    run = run_context()

    first = run.keep_log_line("x" * (MAX_LOG - 10))
    second = run.keep_log_line("a long second line")
    third = run.keep_log_line("third")
    longer = run.replace_log_line(second, "a longer second line")

    assert len(first) == MAX_LOG - 10
    assert second == "a long se"
    assert third == ""
    assert longer == "a longer "
    assert run.log_lines == [first, longer]


def test_a_line_takes_the_place_of_the_one_that_was_kept() -> None:
    """Other lines with the same text, and lines that came later, stay."""
    run = run_context()
    run.keep_log_line("same")

    kept = run.keep_log_line("".join(("sa", "me")))
    run.keep_log_line("later")
    run.replace_log_line(kept, "changed")

    assert run.log_lines == ["same", "changed", "later"]
