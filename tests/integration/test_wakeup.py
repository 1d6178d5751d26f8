"""A change made anywhere is noticed: by a notice on PostgreSQL, by a poll elsewhere."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connection, transaction

from async_apscheduler._database import discard_connection
from async_apscheduler.engine import passes, wakeup
from async_apscheduler.engine.claims import Claims
from async_apscheduler.engine.outlook import Lookout
from async_apscheduler.engine.wakeup import CommitCounter, Wakeup
from async_apscheduler.jobstores import DjangoJobStore
from async_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerNode, Status
from async_apscheduler.models.declarations import synchronise
from async_apscheduler.models.notices import CHANNEL, work_for
from async_apscheduler.registry import registry, scheduled_job
from async_apscheduler.schedulers import DjangoScheduler
from tests.integration.conftest import Start, finished_run, runs_of
from tests.support import await_until, committed_data
from tests.testapp import work

pytestmark = committed_data

FAR = {"hours": 1}
LONG = 600.0
"""Seconds: nothing that happens after these is seen by a test."""


@pytest.fixture(autouse=True)
def only_as_promised(settings: Any, database: str) -> None:
    """No heartbeat brings a look by chance; on PostgreSQL no poll does either."""
    poll = LONG if database == "postgresql" else 0.2
    set_intervals(settings, poll=poll)


def set_intervals(settings: Any, *, poll: float, heartbeat: float = LONG) -> None:
    """Set how often schedulers look by themselves."""
    settings.ASYNC_APSCHEDULER = {
        "POLL_INTERVAL": poll,
        "HEARTBEAT_INTERVAL": heartbeat,
        "NODE_TIMEOUT": heartbeat * 3,
    }


@pytest.fixture
def on_postgresql(database: str) -> None:
    """Skip the test elsewhere."""
    if database != "postgresql":
        pytest.skip("Only PostgreSQL passes on notices")


@pytest.fixture
def on_sqlite(database: str) -> None:
    """Skip the test elsewhere."""
    if database != "sqlite":
        pytest.skip("Only SQLite counts commits")


@pytest.fixture
async def idle(start: Start, database: str) -> DjangoScheduler:
    """A scheduler that has looked, found nothing, and waits for changes."""
    scheduler = await start()
    await ready(scheduler, database)
    return scheduler


async def ready(scheduler: DjangoScheduler, database: str) -> None:
    """Wait until the scheduler hears, if it can, and has looked."""
    if database == "postgresql":
        await await_until(lambda: scheduler._staff.wakeup.is_listening)
    await await_until(lambda: scheduler._staff.work._django._looked_at > 0)


# Whatever is changed


async def run_now() -> None:
    """Ask for a run."""
    await (await DjangoJob.objects.aget(pk="job")).arun()


async def schedule_another() -> None:
    """Add a job that is due at once."""
    await DjangoJob.objects.aschedule(work.mark, id="another")


async def replace() -> None:
    """Give the job another trigger, by its id."""
    await DjangoJob.objects.aschedule(
        work.mark, "interval", seconds=1, id="job", replace_existing=True
    )


async def reschedule() -> None:
    """Give the job another trigger."""
    await (await DjangoJob.objects.aget(pk="job")).areschedule("interval", seconds=1)


async def pause_and_resume() -> None:
    """Pause, and resume with a trigger that fires soon."""
    row = await DjangoJob.objects.aget(pk="job")
    await row.apause()
    await DjangoJob.objects.filter(pk="job").aupdate(trigger={"type": "interval", "seconds": 1})
    await row.aresume()


def through_a_store(change: Callable[[DjangoJobStore], None]) -> Callable[[], Awaitable[None]]:
    """Return what changes something with a job store of another process."""

    async def do() -> None:
        await sync_to_async(change)(DjangoJobStore())

    return do


def move(store: DjangoJobStore) -> None:
    """Let the job be due at once."""
    job = store.lookup_job("job")
    assert job is not None
    job.next_run_time = datetime.now(UTC)
    store.update_job(job)


def release(store: DjangoJobStore) -> None:
    """Release the job from quarantine, where it was due."""
    DjangoJob.objects.filter(pk="job").update(
        status="quarantined", held_run_time=datetime.now(UTC), next_run_time=None
    )
    store.release_readable()


async def declare() -> None:
    """Declare a job that is due soon, and synchronise."""
    with registry.isolated():
        scheduled_job("interval", seconds=1, id="declared")(work.mark)
        await sync_to_async(synchronise)(registry.declarations())


@pytest.mark.parametrize(
    "change",
    [
        run_now,
        schedule_another,
        replace,
        reschedule,
        pause_and_resume,
        through_a_store(move),
        through_a_store(release),
        declare,
    ],
)
async def test_a_change_takes_effect(
    change: Callable[[], Awaitable[None]], start: Start, database: str
) -> None:
    """A job that is due by what somebody else has done runs, without help."""
    await DjangoJob.objects.aschedule(work.mark, "interval", **FAR, id="job")
    await ready(await start(), database)

    await change()

    await await_until(lambda: work.seen)


async def test_a_running_job_is_cancelled(idle: DjangoScheduler) -> None:
    """Somebody asks in another process, and its coroutine is cancelled."""
    await DjangoJob.objects.aschedule(work.sleep_long, id="job")
    [run] = await await_until(lambda: runs_of("job", Status.RUNNING))

    await run.acancel(by="somebody")
    ended = await run.ajoin(timeout=10)

    assert ended.status == Status.CANCELLED


# Notices


class Ear:
    """A connection that listens, as a scheduler does."""

    def __init__(self) -> None:
        self._connection = connection.Database.connect(
            **connection.get_connection_params(), autocommit=True
        )
        self._connection.execute(f"LISTEN {CHANNEL}")
        self._heard: list[str] = []

    def next(self) -> str:
        """Return the next notice; they come in the order of the commits."""
        if not self._heard:
            heard = self._connection.notifies(timeout=10, stop_after=1)
            self._heard += [notice.payload for notice in heard]
        return self._heard.pop(0)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@pytest.fixture
def ear(on_postgresql: None) -> Iterator[Ear]:
    """Listen to everything."""
    ear = Ear()
    yield ear
    ear.close()


def test_a_change_that_is_rolled_back_is_not_told(ear: Ear) -> None:
    """The first notice to arrive is that of the change after it."""
    with transaction.atomic():
        DjangoJob.objects.schedule(work.mark, id="never").run()
        transaction.set_rollback(True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, 'after it')", [CHANNEL])

    assert ear.next() == "after it"


def test_a_transaction_tells_once(ear: Ear) -> None:
    """However many changes it makes."""
    with transaction.atomic():
        for number in range(10):
            DjangoJob.objects.schedule(work.mark, "interval", **FAR, id=f"job-{number}").run()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, 'after it')", [CHANNEL])

    assert [ear.next(), ear.next()] == [work_for(""), "after it"]


def test_runs_that_are_claimed_and_ended_tell_nobody(
    ear: Ear, settings: Any, database: str
) -> None:
    """The scheduler's own writes would wake all the others for nothing."""

    async def run_one() -> None:
        scheduler = DjangoScheduler()
        await scheduler.astart()
        await ready(scheduler, database)
        await DjangoJob.objects.aschedule(work.mark, "interval", seconds=1, id="job")
        await await_until(lambda: len(work.seen) >= 2)
        await DjangoJob.objects.filter(pk="job").adelete()
        await scheduler.ashutdown()

    asyncio.run(run_one())

    assert ear.next().startswith("hello ")  # by which the scheduler knows that it listens
    assert [ear.next(), ear.next()] == [work_for(""), work_for("")]  # added; and the node has left
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, 'after it')", [CHANNEL])
    assert ear.next() == "after it"


async def test_a_node_ignores_what_is_for_others(
    idle: DjangoScheduler, on_postgresql: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another environment's work, and another node's runs."""
    woken: list[str] = []
    monkeypatch.setattr(idle._staff.wakeup, "_wake", lambda: woken.append("woken"))

    for notice in ("work elsewhere", f"cancel {idle.node.id + 1}", "", "nonsense"):
        idle._staff.wakeup._take(notice)
    assert woken == []

    for notice in (work_for(""), f"cancel {idle.node.id}"):
        idle._staff.wakeup._take(notice)
    assert woken == ["woken", "woken"]


# Listening


async def listeners() -> set[int]:
    """Return the process ids of the server's sides of connections that listen."""

    def ask() -> set[int]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pid FROM pg_stat_activity "
                "WHERE datname = current_database() AND query LIKE 'LISTEN%%'"
            )
            return {pid for (pid,) in cursor.fetchall()}

    return await sync_to_async(ask)()


def end_backend(pid: int) -> None:
    """End a connection from the server's side."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])


async def test_one_connection_listens_until_the_scheduler_stops(
    idle: DjangoScheduler, on_postgresql: None
) -> None:
    """It is closed, and its thread ends, at the shutdown."""
    assert len(await listeners()) == 1

    await idle.ashutdown()

    assert not await listeners()
    assert "wakeup" not in [thread.name for thread in threading.enumerate()]


async def test_a_killed_connection_is_replaced(
    idle: DjangoScheduler, on_postgresql: None, failures: list[str]
) -> None:
    """Listening goes on by itself on a new one, and what happened in between is found."""
    [before] = await listeners()
    await DjangoJob.objects.aschedule(work.mark, "interval", **FAR, id="job")

    await sync_to_async(end_backend)(before)
    await run_now()

    await finished_run("job")
    await await_until(lambda: "listener" in failures)
    await await_until(lambda: idle._staff.wakeup.is_listening)
    [after] = await listeners()
    assert after != before


async def test_while_nothing_can_be_heard_passes_poll(
    start: Start, on_postgresql: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each POLL_INTERVAL, until listening works again; then no more."""
    set_intervals(settings, poll=0.1)
    scheduler = await start()
    await await_until(lambda: scheduler._staff.wakeup.is_listening)
    connect = scheduler._staff.wakeup._connect
    refused = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def refuse() -> Any:
        loop.call_soon_threadsafe(refused.set)
        raise OperationalError("refused by the test")

    monkeypatch.setattr(scheduler._staff.wakeup, "_connect", refuse)
    for pid in await listeners():
        await sync_to_async(end_backend)(pid)
    await refused.wait()
    assert not scheduler._staff.wakeup.is_listening
    await DjangoJob.objects.aschedule(work.mark, args=["polled"], id="job")
    await await_until(lambda: work.seen == ["polled"])

    monkeypatch.setattr(scheduler._staff.wakeup, "_connect", connect)
    await await_until(lambda: scheduler._staff.wakeup.is_listening)


async def test_a_server_that_passes_nothing_on_is_polled(
    start: Start,
    on_postgresql: None,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    failures: list[str],
) -> None:
    """As behind a pooler in transaction mode, where LISTEN succeeds and nothing ever comes."""
    set_intervals(settings, poll=0.1)
    monkeypatch.setattr(wakeup, "ANSWER_LIMIT", 0.2)
    monkeypatch.setattr(Wakeup, "_say_hello", lambda self: "hello nobody")

    scheduler = await start()
    await await_until(lambda: "listener" in failures)
    await DjangoJob.objects.aschedule(work.mark, args=["polled"], id="job")
    await await_until(lambda: work.seen == ["polled"])

    assert not scheduler._staff.wakeup.is_listening


async def test_a_connection_that_has_gone_silent_is_replaced(
    idle: DjangoScheduler,
    on_postgresql: None,
    monkeypatch: pytest.MonkeyPatch,
    failures: list[str],
) -> None:
    """Nobody says that it is dead: it is noticed because our own notice does not come."""
    say_hello = Wakeup._say_hello
    said: list[str] = []

    def lose_the_second(self: Wakeup) -> str:
        said.append("hello")
        return "lost on the way" if len(said) == 2 else say_hello(self)

    monkeypatch.setattr(Wakeup, "_say_hello", lose_the_second)
    monkeypatch.setattr(wakeup, "CHECK_INTERVAL", 0.1)
    monkeypatch.setattr(wakeup, "ANSWER_LIMIT", 1.0)
    [pid] = await listeners()
    await sync_to_async(end_backend)(pid)  # its interval is still the long one

    await await_until(lambda: len(said) >= 3)
    await await_until(lambda: idle._staff.wakeup.is_listening)
    assert failures == ["listener", "listener"]


# Looks


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note each look at the database, and each question whether one is due."""
    seen: list[str] = []
    look, finds_news, has_moved = Lookout.look, Lookout.finds_news, CommitCounter.has_moved

    def count_look(self: Lookout, *args: Any) -> Any:
        seen.append("look")
        return look(self, *args)

    def count_glance(self: Lookout, *args: Any) -> bool:
        seen.append("look")
        return finds_news(self, *args)

    def count_question(self: CommitCounter) -> bool:
        seen.append("question")
        return has_moved(self)

    monkeypatch.setattr(Lookout, "look", count_look)
    monkeypatch.setattr(Lookout, "finds_news", count_glance)
    monkeypatch.setattr(CommitCounter, "has_moved", count_question)
    return seen


async def test_an_idle_scheduler_on_postgresql_does_not_poll(
    looks: list[str], start: Start, on_postgresql: None, settings: Any
) -> None:
    """It looks when its heart beats, and no more often."""
    set_intervals(settings, poll=0.02, heartbeat=0.3)
    scheduler = await start()
    await await_until(lambda: scheduler._staff.wakeup.is_listening)
    looks.clear()

    beats: set[datetime] = set()

    async def has_beaten_often() -> bool:
        beats.add((await SchedulerNode.objects.aget()).heartbeat_at)
        return len(beats) > 5

    await await_until(has_beaten_often)

    assert 1 <= looks.count("look") <= 10  # by polling 75


async def test_on_sqlite_a_poll_asks_first_whether_anybody_has_written(
    looks: list[str], idle: DjangoScheduler, on_sqlite: None, settings: Any
) -> None:
    """As long as nobody has, it does not look; when somebody has, it does."""
    set_intervals(settings, poll=0.01)
    idle.wakeup()
    await await_until(lambda: "look" in looks)
    looks.clear()

    await await_until(lambda: looks.count("question") >= 20)
    assert looks.count("look") <= 1  # the one of before, if the list was cleared during it

    await DjangoJob.objects.aschedule(work.mark, id="job")
    await finished_run("job")
    assert looks.count("look") >= 2


def test_commits_of_others_are_seen_and_ones_own_are_not(on_sqlite: None) -> None:
    """A connection that replaces another one has seen nothing."""
    counter = CommitCounter()

    def write() -> None:
        DjangoJob.objects.schedule(work.mark)

    def write_elsewhere() -> None:
        thread = threading.Thread(target=lambda: (write(), connection.close()))
        thread.start()
        thread.join()

    moved = [counter.has_moved(), counter.has_moved()]
    for change in (write, write_elsewhere, lambda: discard_connection("default")):
        change()
        moved.append(counter.has_moved())

    assert moved == [True, False, False, True, True]


@pytest.mark.parametrize("delay", [0.0, 0.3])
async def test_a_retry_comes_in_its_time(
    delay: float, start: Start, settings: Any, database: str
) -> None:
    """The node that wrote it need not poll for it."""
    set_intervals(settings, poll=LONG)
    scheduler = await start()
    await ready(scheduler, database)
    options = {"max_attempts": 3, "retry_delay": delay, "id": "job"}

    await DjangoJob.objects.aschedule(work.succeed_at_attempt, args=[3], **options)
    scheduler.wakeup()

    assert (await finished_run("job")).attempt == 3


async def test_a_retry_of_somebody_else_comes_in_its_time(
    start: Start, settings: Any, database: str
) -> None:
    """One look says when a run may begin, and nothing else need bring the next."""
    set_intervals(settings, poll=LONG)
    await DjangoJob.objects.aschedule(work.mark, "interval", **FAR, id="job")
    now = datetime.now(UTC)
    await DjangoJobExecution.objects.acreate(
        job_id="job",
        run_time=now,
        status=Status.PENDING,
        attempt=2,
        available_at=now + timedelta(seconds=1),
    )

    await ready(await start(), database)

    run = await finished_run("job")
    assert run.started_at is not None
    assert run.started_at >= now + timedelta(seconds=1)


async def test_a_failed_pass_looks_again(
    idle: DjangoScheduler, monkeypatch: pytest.MonkeyPatch, failures: list[str]
) -> None:
    """Though nobody has written anything since."""
    look, errors = Lookout.look, [RuntimeError("once"), RuntimeError("twice")]

    def fail_twice(self: Lookout, *args: Any) -> Any:
        if errors:
            raise errors.pop()
        return look(self, *args)

    monkeypatch.setattr(Lookout, "look", fail_twice)

    await DjangoJob.objects.aschedule(work.mark, id="job")
    await finished_run("job")

    assert failures == ["pass", "pass"]


@pytest.fixture
def claimed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note what is decoded before its time, and when something is claimed."""
    seen: list[str] = []
    load_ahead, claim = Claims.load_ahead, Claims.claim

    def note_loading(self: Claims, *args: Any) -> Any:
        seen.append("decoded")
        return load_ahead(self, *args)

    def note_claim(self: Claims, *args: Any, **options: Any) -> Any:
        seen.append("claimed")
        return claim(self, *args, **options)

    monkeypatch.setattr(Claims, "load_ahead", note_loading)
    monkeypatch.setattr(Claims, "claim", note_claim)
    return seen


async def test_a_sleeping_node_wakes_up_to_decode_what_will_be_due(
    claimed: list[str], idle: DjangoScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that sleeps until a job is due wakes up a moment before."""
    monkeypatch.setattr(passes, "AHEAD", timedelta(milliseconds=500))
    due = datetime.now(UTC) + timedelta(seconds=1.5)

    await DjangoJob.objects.aschedule(work.mark, "date", run_date=due, id="job")
    await finished_run("job")

    assert claimed[0] == "decoded"
    assert "claimed" in claimed


async def test_what_waits_for_a_run_here_begins_elsewhere_when_this_node_leaves(
    start: Start, database: str
) -> None:
    """The others hear of it at once."""
    work.gates["gate"] = asyncio.Event()
    first = await start()
    await ready(first, database)
    row = await DjangoJob.objects.aschedule(work.wait_for_gate, "interval", **FAR, args=["gate"])
    await row.arun()
    await await_until(lambda: work.seen == ["gate began"])
    second = await start()
    await ready(second, database)
    await DjangoJobExecution.objects.acreate(
        job_id=row.pk, run_time=datetime.now(UTC), status=Status.PENDING
    )

    work.gates["gate"].set()
    await first.ashutdown()

    await await_until(lambda: len(work.seen) == 2)
