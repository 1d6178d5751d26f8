"""A blocked event loop is named: who, how long, and where, while it is blocked."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import override_settings

from async_apscheduler.engine.watchdog import WHILE_IDLE
from async_apscheduler.models import DjangoJob, DjangoJobExecution, Status
from async_apscheduler.signals import loop_blocked
from tests.integration.conftest import Start, finished_run
from tests.support import await_until, committed_data
from tests.testapp import blockers, work

pytestmark = committed_data
may_block = pytest.mark.may_block("the watchdog must see a blocked loop")

SECONDS = 1.0
AT_LEAST = 0.25
"""How much of that the watchdog must have seen: the least that it reports.

How much more it sees depends on when the machine lets its thread look.
"""


@pytest.fixture
def reports() -> Iterator[list[dict[str, Any]]]:
    """What the watchdog reports, each with what jobs had left behind by then."""
    told: list[dict[str, Any]] = []

    def note(**report: Any) -> None:
        told.append({**report, "seen": list(work.seen)})

    loop_blocked.connect(note)
    yield told
    loop_blocked.disconnect(note)


@may_block
@pytest.mark.parametrize(
    "function",
    [
        blockers.hold,
        blockers.hold_in_task,
        blockers.hold_in_selector,
        blockers.hold_in_python,
    ],
)
async def test_a_job_that_blocks_the_loop_is_named_while_it_does(
    start: Start, reports: list[dict[str, Any]], function: Any
) -> None:
    """The report comes before the job goes on; the row has the seconds, the log the place."""
    scheduler = await start()

    await scheduler.aadd_job(function, args=[SECONDS], id="bad")
    run = await finished_run("bad")

    assert run.status == Status.SUCCEEDED
    assert run.loop_blocked_seconds >= AT_LEAST
    assert run.loop_blocked_seconds <= run.duration + 0.1
    assert "blocked the event loop for" in run.log
    assert "tests/testapp/blockers.py" in run.log
    assert "async_apscheduler/engine" not in run.log
    assert reports[0]["job_id"] == "bad"
    assert not reports[0]["is_over"]
    assert reports[0]["seen"] == []
    assert reports[0]["stack"][0].filename.endswith("blockers.py")
    await scheduler.aadd_job(work.mark, id="next")
    assert (await finished_run("next")).status == Status.SUCCEEDED


@may_block
async def test_the_log_tells_job_and_place(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """One warning in one line at once, one line with the duration at the end."""
    scheduler = await start()

    with caplog.at_level(logging.INFO, "async_apscheduler"):
        await scheduler.aadd_job(blockers.hold, args=[SECONDS], id="told\nin one line")
        await finished_run("told\nin one line")
        await await_until(lambda: "blocked the event loop for" in caplog.text)

    warning, end = [r for r in caplog.records if "the event loop" in r.getMessage()]
    assert warning.levelno == logging.WARNING
    assert warning.getMessage().startswith(r"told\nin one line blocks the event loop, for 0.")
    assert "tests/testapp/blockers.py:" in warning.getMessage()
    assert warning.getMessage().endswith("in hold")
    assert end.getMessage().startswith(r"told\nin one line blocked the event loop for ")


def _seconds_a_step() -> float:
    """Return how long this thread works for each number that it adds up."""
    began = time.thread_time()
    sum(range(1_000_000))
    return (time.thread_time() - began) / 1_000_000


@may_block
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how long a thread has worked")
async def test_a_call_that_lets_no_thread_work_is_named_afterwards(
    start: Start, reports: list[dict[str, Any]]
) -> None:
    """The watchdog itself cannot look meanwhile; it counts what the loop's thread has worked.

    On a busy machine that is less than the time that went by, so the call is made to work for twice
    as long as it must, even if the machine has become as fast as it was at best.
    """
    steps = int(2 * SECONDS / min(_seconds_a_step() for _ in range(5)))
    scheduler = await start()

    await scheduler.aadd_job(blockers.hold_interpreter, args=[steps], id="bad")
    run = await finished_run("bad")

    assert AT_LEAST <= run.loop_blocked_seconds <= run.duration + 0.1
    assert "tests/testapp/blockers.py" in run.log
    assert {report["job_id"] for report in reports} == {"bad"}


@may_block
async def test_blocks_of_one_run_add_up(start: Start, reports: list[dict[str, Any]]) -> None:
    """Each has its line in the log of the run, and the row has their sum."""
    scheduler = await start()

    await scheduler.aadd_job(blockers.hold_twice, args=[SECONDS], id="bad")
    run = await finished_run("bad")

    assert run.loop_blocked_seconds >= 2 * AT_LEAST
    assert run.log.count("blocked the event loop for") == 2
    assert [report["is_over"] for report in reports][:3] == [False, True, False]


@may_block
async def test_two_schedulers_on_one_loop_count_a_block_once(start: Start) -> None:
    """Both see it; the run has not blocked for longer than it ran."""
    scheduler = await start()
    await start()

    await scheduler.aadd_job(blockers.hold, args=[SECONDS], id="bad")
    run = await finished_run("bad")

    assert AT_LEAST <= run.loop_blocked_seconds <= run.duration + 0.1


@may_block
async def test_what_belongs_to_no_run_is_named_by_its_place(
    start: Start, reports: list[dict[str, Any]]
) -> None:
    """A task or a callback of somebody else on the loop is reported without a job."""
    await start()

    async def other_work() -> None:
        time.sleep(WHILE_IDLE + SECONDS)  # noqa: ASYNC251  the offence to be seen

    await asyncio.create_task(other_work(), name="other")
    asyncio.get_running_loop().call_soon(lambda: time.sleep(WHILE_IDLE + SECONDS))
    await await_until(lambda: len(reports) >= 4)

    assert {report["job_id"] for report in reports} == {None}
    assert "'other'" in reports[0]["name"]
    assert reports[2]["name"] == "a callback"
    assert [report["stack"][0].filename for report in reports] == [__file__] * 4


@may_block
async def test_what_is_shorter_than_the_threshold_does_not_count(
    start: Start, reports: list[dict[str, Any]]
) -> None:
    """BLOCKED_LOOP_THRESHOLD says from which duration on a turn of the loop is a block."""
    scheduler = await start()

    with override_settings(ASYNC_APSCHEDULER={"BLOCKED_LOOP_THRESHOLD": 3 * SECONDS}):
        await scheduler.aadd_job(blockers.hold, args=[SECONDS], id="patient")
        patient = await finished_run("patient")
    with override_settings(ASYNC_APSCHEDULER={"BLOCKED_LOOP_THRESHOLD": 0.05}):
        await scheduler.aadd_job(blockers.hold, args=[0.3], id="strict")
        strict = await finished_run("strict")

    assert patient.loop_blocked_seconds == 0
    assert patient.log == ""
    assert strict.loop_blocked_seconds >= 0.1
    assert {report["job_id"] for report in reports} == {"strict"}


@may_block
@override_settings(ASYNC_APSCHEDULER={"LOG_CAPTURE": False})
async def test_without_captured_logs_the_seconds_remain(start: Start) -> None:
    """LOG_CAPTURE keeps the line out of the row, not the accounting."""
    scheduler = await start()

    await scheduler.aadd_job(blockers.hold, args=[SECONDS], id="bad")
    run = await finished_run("bad")

    assert run.loop_blocked_seconds >= AT_LEAST
    assert run.log == ""


async def test_a_busy_loop_is_not_reported(start: Start, reports: list[dict[str, Any]]) -> None:
    """500 jobs of 8 ms hold each other up for seconds, but none of them blocks the loop."""
    due = datetime.now(UTC)
    for number in range(500):
        await DjangoJob.objects.aschedule(
            blockers.hold_in_python, "date", run_date=due, args=[0.008], id=f"job-{number}"
        )

    await start()
    await await_until(lambda: len(work.seen) == 500, timeout=30)

    assert reports == []
    assert not await DjangoJobExecution.objects.filter(loop_blocked_seconds__gt=0).aexists()


async def test_a_job_that_gives_turns_is_not_reported(
    start: Start, reports: list[dict[str, Any]]
) -> None:
    """Whenever the watchdog looks the loop is at the same task, yet others get their turns."""
    scheduler = await start()

    await scheduler.aadd_job(blockers.work_in_turns, args=[2 * SECONDS], id="polite")
    run = await finished_run("polite")

    assert run.loop_blocked_seconds == 0
    assert reports == []
