"""What somebody can do who may write a row, name a function, or let a job fail: nothing more.

Each test would fail if the protection that it is about were missing.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import pickle
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from apscheduler.events import EVENT_JOB_ERROR
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger
from asgiref.sync import sync_to_async
from django.core.signing import Signer
from django.test import override_settings

from async_apscheduler.codec._pickling import SALT
from async_apscheduler.engine.runner import Runner
from async_apscheduler.exceptions import InvalidJobError, InvalidTriggerError
from async_apscheduler.jobstores import DjangoJobStore
from async_apscheduler.masking import MASK
from async_apscheduler.models import DjangoJob, DjangoJobExecution, JobChange, SchedulerNode, Status
from async_apscheduler.models.declarations import synchronise
from async_apscheduler.registry import Registry, scheduled_job
from tests.integration.conftest import Start, finished_run
from tests.support import await_until, committed_data
from tests.testapp import functions, leaks, work

pytestmark = committed_data

EVERY_HOUR = {"type": "interval", "hours": 1, "start_date": "2026-01-01T00:00:00+00:00"}
CANARY = "lies_outside_of_the_allowed_modules"


async def insert_due(id: str, **columns: Any) -> None:
    """Write the row of a due job as anybody could who has access to the table."""
    values = {
        "name": id,
        "func": "tests.testapp.work:mark",
        "trigger": EVERY_HOUR,
        "next_run_time": datetime.now(UTC),
        **columns,
    }
    await DjangoJob.objects.acreate(id=id, **values)


async def is_quarantined(id: str) -> bool:
    """Return True if the job was set aside."""
    return bool(await DjangoJob.objects.quarantined().filter(pk=id).aexists())


# Pickle


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self) -> Any:
        return work.seen.append, ("boom",)


def bombs() -> dict[str, dict[str, Any]]:
    """Return what to write into a row, by the place of the bomb."""
    payload = base64.b64encode(pickle.dumps(Bomb())).decode()
    unsigned = {"$type": "pickle", "value": payload}
    foreign = {"$type": "pickle", "value": Signer(key="another", salt=SALT).sign(payload)}
    own_trigger = {"type": "tests.testapp.triggers:Every", "state": unsigned}
    return {
        "in-args": {"args": [unsigned]},
        "in-kwargs": {"kwargs": {"value": unsigned}},
        "deep": {
            "args": [{"$type": "json", "value": f'{{"$type": "pickle", "value": "{payload}"}}'}]
        },
        "signed-by-others": {"args": [foreign]},
        "in-the-trigger": {"trigger": own_trigger},
        "in-a-state-of-apscheduler": {"args": [{"job_state": payload}], "func": "pickle:loads"},
    }


@pytest.mark.parametrize("serializer", ["json", "pickle"])
async def test_a_pickle_in_a_row_is_never_opened(start: Start, serializer: str) -> None:
    """Neither at a run nor in a listing; the job is set aside, and the others go on."""
    with override_settings(ASYNC_APSCHEDULER={"SERIALIZER": serializer}):
        for id, columns in bombs().items():
            await insert_due(id, **columns)
        await insert_due("innocent", args=["innocent"])

        scheduler = await start()
        await finished_run("innocent")
        await await_until(lambda: all_quarantined(bombs()))
        listed = await scheduler.aget_jobs()

    assert [job.id for job in listed] == ["innocent"]
    assert work.seen == ["innocent"]


async def all_quarantined(ids: Any) -> bool:
    """Return True if all these jobs were set aside."""
    return bool(await DjangoJob.objects.quarantined().filter(pk__in=ids).acount() == len(ids))


# References

FORBIDDEN = [
    "os:system",
    "subprocess:run",
    "builtins:eval",
    "builtins:__import__",
    "django.core.management:call_command",
    "tests.testapp.functions:os.system",
    "tests.testapp.functions:OS.popen",
    "tests.testapp.functions:plain.__globals__",
    "tests.testapp.functions:plain.__globals__.clear",
    "tests.testapp.functions:Greeter.__subclasses__",
    "tests.testapp.functions:NOT_CALLABLE",
    "tests.testapp_of_somebody_else:run",
    "tests.testapp.functions:__builtins__.eval",
    "../tests/testapp/functions.py:plain",
    f"{CANARY}:run",
    f"{CANARY}.inside:run",
]


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Offer a module that nobody may import; return whether somebody has."""
    (tmp_path / f"{CANARY}.py").write_text("def run(): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    return lambda: CANARY in sys.modules


@pytest.mark.parametrize("reference", FORBIDDEN)
async def test_a_function_that_may_not_be_called_is_refused_when_it_is_added(
    canary: Callable[[], bool], start: Start, reference: str
) -> None:
    """By every door, before its module is imported: that alone can do things."""
    scheduler = await start()

    with pytest.raises(InvalidJobError):
        await DjangoJob.objects.aschedule(reference, "interval", hours=1)
    with pytest.raises((InvalidJobError, ValueError, TypeError, LookupError)):
        await scheduler.aadd_job(reference, "interval", hours=1)

    assert not canary()
    assert not await DjangoJob.objects.aexists()


async def test_a_function_that_may_not_be_called_is_refused_when_it_is_loaded(
    canary: Callable[[], bool], start: Start
) -> None:
    """The row is kept with its error; nothing is imported, and the others run."""
    for number, reference in enumerate(FORBIDDEN):
        await insert_due(f"forbidden-{number}", func=reference, args=[f"touch {CANARY}"])
    await insert_due("innocent", args=["innocent"])

    await start()
    await finished_run("innocent")
    await await_until(lambda: all_quarantined([f"forbidden-{n}" for n in range(len(FORBIDDEN))]))

    assert not canary()
    assert work.seen == ["innocent"]
    assert not await DjangoJobExecution.objects.exclude(job_id="innocent").aexists()


# Log lines

HASTY = {"HEARTBEAT_INTERVAL": 0.2, "NODE_TIMEOUT": 2}
"""So that nodes without a sign of life are soon declared lost."""


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return what this package has logged, a text for each record."""
    caplog.set_level(logging.DEBUG, "async_apscheduler")

    def ours() -> list[str]:
        own = [record for record in caplog.records if record.name.startswith("async_apscheduler.")]
        return [logging.Formatter("%(message)s").format(record) for record in own]

    return ours


async def test_what_comes_from_outside_cannot_forge_log_lines(
    start: Start, lines: Callable[[], list[str]]
) -> None:
    """One record is one line of readable length, whatever ids and exceptions hold."""
    await insert_due(f"gone {leaks.FORGED}", func="tests.testapp.work:gone")
    await insert_due(f"fails {leaks.FORGED}", func="tests.testapp.leaks:forge")
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    await SchedulerNode.objects.acreate(
        name=f"lost {leaks.FORGED}", started_at=long_ago, heartbeat_at=long_ago, capacity=1
    )

    with override_settings(ASYNC_APSCHEDULER=HASTY):
        await start()
        words = ("Quarantined:", "failed in", "Lost:")
        await await_until(lambda: all(any(word in line for line in lines()) for word in words))

    for line in lines():
        assert line.isprintable()
        assert len(line) < 1_500
    assert any(r"gone x\r\n12:00:00" in line for line in lines())


# Secrets

ADDRESS = "postgres://shop:hunter2@db/shop"


async def test_secrets_of_a_failed_run_are_not_kept(
    start: Start, lines: Callable[[], list[str]]
) -> None:
    """Not in its row, which is copied and searched, nor in the log, nor in the event's text."""
    scheduler = await start()
    events: list[Any] = []
    scheduler.add_listener(events.append, EVENT_JOB_ERROR)

    await DjangoJob.objects.aschedule(leaks.blurt_out, id="job", args=[ADDRESS, "hunter2"])
    run = await finished_run("job")

    kept = (run.exception, run.traceback, run.log)
    assert run.status == Status.FAILED
    assert all("hunter2" not in text and MASK in text for text in kept)
    assert "blurt_out" in run.traceback
    assert "ConnectionError: cannot reach postgres://shop:" in run.exception
    assert "hunter2" not in events[0].traceback
    assert any("ConnectionError" in line for line in lines())
    assert not any("hunter2" in line for line in lines())


async def test_secrets_of_a_run_under_another_scheduler_are_not_kept() -> None:
    """APScheduler's own schedulers tell of failures through events."""
    from apscheduler.schedulers.background import BackgroundScheduler

    async def is_gone() -> bool:
        return not await DjangoJob.objects.aexists()

    scheduler = BackgroundScheduler(timezone=UTC)
    scheduler.add_jobstore(DjangoJobStore())
    await sync_to_async(scheduler.start)()
    try:
        add = sync_to_async(scheduler.add_job)
        await add(leaks.blurt_out_in_thread, id="job", args=["hunter2"])
        run = await finished_run("job")
        await await_until(is_gone)  # stopped before, its thread would not find what it removes
    finally:
        await sync_to_async(scheduler.shutdown)()

    assert "hunter2" not in run.exception + run.traceback
    assert MASK in run.exception


async def test_the_audit_trail_does_not_keep_secrets(isolated_registry: Registry) -> None:
    """Given by name or by place: it outlives them by years, and still says that they changed."""
    await sync_to_async(declare)(isolated_registry, "hunter2")
    await sync_to_async(declare)(isolated_registry, "hunter3")
    await sync_to_async(synchronise)([])

    trail = [change async for change in JobChange.objects.order_by("pk")]
    by_place, by_name, removed = trail[2:5]
    masked = {"args": [f"a://b:{MASK}@c", MASK]}
    assert [change.action for change in trail] == ["added"] * 2 + ["changed"] * 2 + ["removed"] * 2
    assert by_place.before == by_place.after == masked
    assert by_name.before == by_name.after == {"kwargs": {"api_key": MASK}}
    assert removed.before["args"] == masked["args"]
    assert not any("hunter" in f"{change.before}{change.after}" for change in trail)


def declare(registry: Registry, secret: str) -> None:
    """Deploy code that declares two jobs with this secret."""
    with registry.isolated() as fresh:
        hourly = scheduled_job("interval", hours=1, id="a", args=[f"a://b:{secret}@c", secret])
        hourly(leaks.blurt_out)
        hourly = scheduled_job("interval", hours=1, id="b", kwargs={"api_key": secret})
        hourly(leaks.return_everything)
        synchronise(fresh.declarations())


# Names that look like SQL

KEYS = [
    "a'); DROP TABLE auth_user; --",
    "a__contains",
    "%s %(x)s",
    'quo"te',
    "$.a[*]",
    "a.b",
    "_connector",
]


async def test_keys_of_arguments_are_only_data(start: Start) -> None:
    """No SQL and no lookup is made of them: they arrive as they were given."""
    await start()
    arguments = dict.fromkeys(KEYS, "value")

    await DjangoJob.objects.aschedule(leaks.return_everything, id="job", kwargs=arguments)
    run = await finished_run("job")

    assert run.status == Status.SUCCEEDED, run.traceback
    assert run.return_value == arguments


# Triggers that would keep a scheduler busy for ever


def cron(**fields: Any) -> CronTrigger:
    """Return a cron trigger in UTC."""
    return CronTrigger(timezone=UTC, **fields)


BUSY = IntervalTrigger(seconds=0.000001, timezone=UTC)

ENDLESS = [
    BUSY,
    OrTrigger([cron(hour=3), BUSY]),
    cron(month=2, day=30),
    cron(month=2, week=53),
    cron(year=2020),
    OrTrigger([cron(month=2, day=30)]),
    OrTrigger([cron(second="*")] * 501),
    AndTrigger([cron(second=0), cron(second=30)]),
    AndTrigger([cron(week=53, day_of_week="sun"), cron(month=2)]),
    AndTrigger(
        [AndTrigger([cron(minute=0), cron(second=0)]), AndTrigger([cron(minute=1), cron()])]
    ),
    AndTrigger([cron(month=2, day=29, day_of_week="sat")] * 100),
]


@pytest.mark.parametrize("trigger", ENDLESS, ids=lambda trigger: str(trigger)[:60])
async def test_triggers_without_end_or_fire_are_refused_by_every_door(
    start: Start, trigger: Any
) -> None:
    """When they are given, where somebody reads why, after little work."""
    scheduler = await start()
    await scheduler.aadd_job(work.mark, "interval", hours=1, id="there")
    row = await DjangoJob.objects.aget(pk="there")
    doors: list[Callable[[], Any]] = [
        lambda: DjangoJob.objects.aschedule(work.mark, trigger),
        lambda: row.areschedule(trigger),
        lambda: scheduler.aadd_job(work.mark, trigger),
        lambda: scheduler.areschedule_job("there", trigger=trigger),
    ]

    for door in doors:
        with pytest.raises(InvalidTriggerError):
            await door()

    kept = await DjangoJob.objects.aget()
    assert kept.trigger == row.trigger


async def test_the_pace_of_a_trigger_is_checked_wherever_one_is_stored(start: Start) -> None:
    """APScheduler's modify_job() takes a trigger without a look at it."""
    scheduler = await start()
    await scheduler.aadd_job(work.mark, "interval", hours=1, id="there")

    with pytest.raises(InvalidTriggerError, match="too short"):
        await scheduler.amodify_job("there", trigger=BUSY)

    assert (await DjangoJob.objects.aget()).trigger["hours"] == 1


async def test_an_interval_that_was_shortened_in_its_row_is_not_followed(start: Start) -> None:
    """The job is set aside instead, and the others run."""
    await insert_due("busy", trigger={**EVERY_HOUR, "hours": 0, "seconds": 0.000001}, args=["busy"])
    await insert_due("innocent", args=["innocent"])

    await start()
    await finished_run("innocent")
    await await_until(lambda: is_quarantined("busy"))

    assert "too short" in (await DjangoJob.objects.aget(pk="busy")).error
    assert work.seen == ["innocent"]


# A copy of another environment's database


@pytest.fixture
def of_production(transactional_db: None) -> None:
    """Rows as a copied production database has them."""
    with override_settings(ASYNC_APSCHEDULER={"ENVIRONMENT": "production"}):
        schedule = DjangoJob.objects.schedule
        schedule(work.mark, "date", run_date=an_hour_ago(), id="due", args=["due"])
        schedule(work.mark, "interval", hours=1, id="asked", args=["asked"]).run()
        schedule(functions.plain, "interval", hours=1, id="declared")
        DjangoJob.objects.filter(pk="declared").update(source="declared")
        DjangoJob.objects.quarantine(schedule(work.mark, "cron", hour=3, id="broken"), "gone")
        schedule(work.mark, "cron", hour=3, id="exhausted")
        DjangoJob.objects.filter(pk="exhausted").update(next_run_time=None)
    node = make_silent_node("production")
    DjangoJobExecution.objects.create(
        job_id="due", run_time=an_hour_ago(), status=Status.RUNNING, node=node
    )


def an_hour_ago() -> datetime:
    """Return a moment that has passed."""
    return datetime.now(UTC) - timedelta(hours=1)


def make_silent_node(environment: str) -> SchedulerNode:
    """Insert a node without a sign of life."""
    node: SchedulerNode = SchedulerNode.objects.create(
        name=f"silent in {environment}",
        environment=environment,
        started_at=an_hour_ago(),
        heartbeat_at=an_hour_ago(),
        capacity=9,
    )
    return node


def rows_of_production() -> list[Any]:
    """Return everything that a scheduler could have changed."""
    jobs = DjangoJob.objects.filter(environment="production").order_by("pk")
    runs = DjangoJobExecution.objects.exclude(job_id="ours").order_by("pk")
    nodes = SchedulerNode.objects.filter(environment="production")
    return [*jobs.values(), *runs.values(), *nodes.values()]


async def test_a_scheduler_leaves_everything_of_another_environment_alone(
    of_production: None, isolated_registry: Registry
) -> None:
    """It runs, removes, rescues, tidies and releases nothing there, and says so."""
    before = await sync_to_async(rows_of_production)()
    said: list[str] = []

    with override_settings(ASYNC_APSCHEDULER={"ENVIRONMENT": "staging", **HASTY}):
        lost = await sync_to_async(make_silent_node)("staging")
        await DjangoJob.objects.aschedule(work.mark, id="ours", args=["ours"])
        runner = Runner(said.append)
        life = asyncio.create_task(runner.run())
        await finished_run("ours")
        await await_until(lambda: SchedulerNode.objects.filter(pk=lost.pk, state="lost").aexists())
        runner.stop()
        await life

    assert work.seen == ["ours"]
    assert await sync_to_async(rows_of_production)() == before
    assert "1 job; 5 of another environment, left alone" in said[0]
