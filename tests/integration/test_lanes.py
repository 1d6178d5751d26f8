"""Lanes with a real database: connections, transactions, and how many of them there are."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import (
    OperationalError,
    ProgrammingError,
    close_old_connections,
    connections,
    transaction,
)

from async_apscheduler._database import (
    CONNECTION_ERRORS,
    JobThreads,
    Lane,
    LanePool,
    RunLane,
    _lanes,
    discard_connection,
    eager_transaction,
    is_deadlock,
    retrying_once,
)
from async_apscheduler.models import DjangoJob
from tests.databases import Vendor
from tests.integration.conftest import Start
from tests.support import await_until, committed_data
from tests.testapp import work
from tests.testapp.models import Note

pytestmark = committed_data

FILE_DOES_NOT_BREAK = "a connection to a SQLite file does not break"
ONLY_SQLITE = "only SQLite locks the whole database"

BLOCK = 0.3
"""Seconds that something else holds the event loop."""


def unheard(_: float) -> None:
    """Hear when the loop should have turned, and make nothing of it."""


class Queries:
    """A query wrapper that remembers what was asked, and in which thread."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, threading.Thread]] = []

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.asked.append((sql, threading.current_thread()))
        return execute(sql, params, many, context)

    @property
    def threads(self) -> set[threading.Thread]:
        """The threads that asked anything."""
        return {thread for _, thread in self.asked}

    def about(self, word: str) -> int:
        """Return how many statements contain the word."""
        return sum(word in sql for sql, _ in self.asked)


@pytest.fixture
def queries() -> Queries:
    """What the lanes of this test ask the database."""
    return Queries()


@pytest.fixture
def make_pool(queries: Queries) -> Iterator[Callable[[int], LanePool]]:
    """Make pools of so many lanes; their connections are closed after the test."""
    pools: list[LanePool] = []

    def make(size: int) -> LanePool:
        pools.append(LanePool(size, query_wrapper=queries))
        return pools[-1]

    yield make
    for pool in pools:
        close(pool)


@pytest.fixture
def lane() -> Iterator[Lane]:
    """A lane that is not in a pool."""
    lane = Lane("test")
    yield lane
    thread = done(lane, threading.current_thread)
    lane.close()
    thread.join(10)


def close(pool: LanePool) -> None:
    """Close a pool and wait until its threads have ended."""
    threads = [done(lane, threading.current_thread) for lane in pool._lanes]
    pool.close()
    for thread in threads:
        thread.join(10)


def done(lane: Lane | RunLane, func: Callable[..., Any], *args: Any) -> Any:
    """Call a function in the lane and return its result."""
    return lane.submit(func, *args).result(timeout=30)


def raw(alias: str = "default") -> Any:
    """Return the driver's connection of this thread, or None."""
    return connections[alias].connection


def count_notes(alias: str = "default") -> int:
    """Ask something."""
    return Note.objects.using(alias).count()


IDENTITY = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT CONNECTION_ID()"}
NAP = {"postgresql": "SELECT pg_sleep(3)", "mariadb": "SELECT SLEEP(3)"}
KILL = {"postgresql": "SELECT pg_terminate_backend(%s)", "mysql": "KILL %s"}


def identity() -> int:
    """Return the server's number for this thread's connection."""
    with connections["default"].cursor() as cursor:
        cursor.execute(IDENTITY[connections["default"].vendor])
        return int(cursor.fetchone()[0])


def ask(question: str) -> Any:
    """Return the first column of the first row of an answer."""
    with connections["default"].cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchone()[0]


def break_connection(number: int) -> None:
    """Let the server end a connection, as its restart would."""
    with connections["default"].cursor() as cursor:
        cursor.execute(KILL[connections["default"].vendor], [number])


async def every_form_of_the_orm() -> None:
    """Create, get, iterate and stream, and use a transaction."""
    note = await Note.objects.acreate(text="first")
    await Note.objects.aget(pk=note.pk)
    assert [note.text async for note in Note.objects.all()] == ["first"]
    async for streamed in Note.objects.all().aiterator(chunk_size=1):
        await Note.objects.filter(pk=streamed.pk).aupdate(text="second")
    await sync_to_async(change_in_transaction)(note.pk)


def change_in_transaction(key: int) -> None:
    """Read a row, then write it."""
    with transaction.atomic():
        note = Note.objects.select_for_update().get(pk=key)
        note.text = f"{note.text}, changed"
        note.save()


async def test_every_orm_call_of_a_run_is_made_in_its_lane(
    make_pool: Callable[[int], LanePool], queries: Queries
) -> None:
    """Whatever form it has; and what the same task asks before and after is asked elsewhere."""
    run = make_pool(3).for_run()
    thread = await asyncio.wrap_future(run.submit(threading.current_thread))

    await Note.objects.acount()
    async with ThreadSensitiveContext(executor=run):
        await every_form_of_the_orm()
    [text] = [note.text async for note in Note.objects.all()]
    run.release()

    assert text == "second, changed"
    assert queries.threads == {thread}
    assert queries.about("SELECT COUNT") == 0
    assert queries.about("INSERT") == 1
    assert queries.about("UPDATE") == 2 + queries.about("FOR UPDATE")


async def test_concurrent_runs_keep_their_queries_in_their_own_lanes(
    make_pool: Callable[[int], LanePool], queries: Queries
) -> None:
    """50 runs on four lanes: each sees its own rows through its own thread."""
    pool = make_pool(4)

    async def job(number: int) -> set[threading.Thread]:
        run = pool.for_run()
        async with ThreadSensitiveContext(executor=run):
            threads = {await sync_to_async(threading.current_thread)()}
            await Note.objects.acreate(text=f"{number}")
            streamed = Note.objects.filter(text=f"{number}").aiterator()
            assert [note.text async for note in streamed] == [f"{number}"]
            threads.add(await sync_to_async(threading.current_thread)())
        run.release()
        return threads

    used = await asyncio.gather(*(job(number) for number in range(50)))

    assert all(len(threads) == 1 for threads in used)
    assert queries.threads == set.union(*used)
    assert len(queries.threads) <= 4
    assert await Note.objects.acount() == 50


def test_the_wrapper_sees_queries_on_each_database_and_in_each_thread(queries: Queries) -> None:
    """Lanes and the threads of plain functions, on every alias."""
    lane, threads = Lane("test", query_wrapper=queries), JobThreads(1, query_wrapper=queries)

    done(lane, count_notes)
    done(lane, count_notes, "other")
    threads.submit(count_notes).result(30)

    assert queries.about("SELECT COUNT") == 3
    assert len(queries.threads) == 2
    lane.close()
    threads.close()


def test_the_last_run_of_a_lane_leaves_no_old_connection(
    make_pool: Callable[[int], LanePool],
) -> None:
    """CONN_MAX_AGE is 0 here: the connection stays open for the other run, and no longer."""
    pool = make_pool(1)
    first, second = pool.for_run(), pool.for_run()
    done(first, count_notes)
    done(second, count_notes)
    opened = done(first, raw)

    first.release()
    kept = done(second, raw)
    second.release()

    assert opened is not None
    assert kept is opened
    assert done(pool._lanes[0], raw) is None


def test_a_connection_that_may_live_on_is_used_by_the_next_run(
    make_pool: Callable[[int], LanePool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With CONN_MAX_AGE the next run on the lane need not connect."""
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 600)
    pool = make_pool(2)
    seen = []

    for _ in range(3):
        run = pool.for_run()
        done(run, count_notes)
        seen.append(done(run, raw))
        run.release()

    assert seen[0] is seen[1] is seen[2] is not None


def test_a_plain_function_leaves_no_old_connection() -> None:
    """After each call, also one that raised, the connection is closed if it is too old."""
    threads = JobThreads(1)
    seen: list[Any] = []

    def fail() -> None:
        count_notes()
        seen.append(raw())
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  # it has no text
        threads.submit(fail).result(30)
    threads.submit(lambda: seen.append(raw())).result(30)

    assert seen[0] is not None
    assert seen[1] is None
    threads.close()


def test_a_broken_connection_in_a_shared_lane_is_replaced_and_no_other(
    make_pool: Callable[[int], LanePool], database: Vendor
) -> None:
    """The newcomer gets a new connection in place of the dead one; the healthy one stays open."""
    if database == "sqlite":
        pytest.skip(FILE_DOES_NOT_BREAK)
    pool = make_pool(1)
    resident, newcomer = pool.for_run(), pool.for_run()
    for alias in ("default", "other"):
        done(resident, count_notes, alias)
    dead, healthy = done(resident, raw), done(resident, raw, "other")
    break_connection(done(resident, identity))
    with pytest.raises(CONNECTION_ERRORS):
        done(resident, count_notes)
    done(resident, lambda: setattr(connections["other"], "errors_occurred", True))

    assert done(newcomer, count_notes) == 0
    assert done(newcomer, raw) is not dead
    assert done(newcomer, raw, "other") is healthy
    assert done(resident, count_notes) == 0
    assert done(newcomer, lambda: connections["other"].errors_occurred) is False


def test_a_transaction_in_a_shared_lane_is_left_alone(
    make_pool: Callable[[int], LanePool],
) -> None:
    """A newcomer does not close the connection of a run that is inside an atomic block."""
    pool = make_pool(1)
    resident, newcomer = pool.for_run(), pool.for_run()
    block = transaction.atomic()
    done(resident, block.__enter__)
    done(resident, Note.objects.create)
    before = done(resident, raw)
    done(resident, lambda: setattr(connections["default"], "errors_occurred", True))

    done(newcomer, count_notes)
    done(resident, block.__exit__, None, None, None)

    assert done(resident, raw) is before
    assert count_notes() == 1


def test_a_query_on_a_dead_connection_is_asked_once_more(lane: Lane, database: Vendor) -> None:
    """The thread connects again by itself; a transaction that has lost its beginning does not."""
    if database == "sqlite":
        pytest.skip(FILE_DOES_NOT_BREAK)
    calls: list[str] = []

    def ask(word: str) -> int:
        calls.append(word)
        return count_notes()

    def ask_again_and_again() -> int:
        return retrying_once("default", ask, "outside")

    @transaction.atomic
    def ask_inside(killer: Lane) -> int:
        done(killer, break_connection, identity())
        return retrying_once("default", ask, "inside")

    break_connection(done(lane, identity))
    answer = done(lane, ask_again_and_again)
    killer = Lane("killer")
    with pytest.raises(CONNECTION_ERRORS):
        done(lane, ask_inside, killer)
    killer.close()

    assert answer == 0
    assert calls == ["outside", "outside", "inside"]
    assert done(lane, ask_again_and_again) == 0


async def test_a_database_that_does_not_answer_is_given_up(
    lane: Lane, monkeypatch: pytest.MonkeyPatch, database: Vendor
) -> None:
    """The waiting thread gets an error instead of an answer, and the lane works again."""
    if database == "sqlite":
        pytest.skip(FILE_DOES_NOT_BREAK)
    monkeypatch.setattr(_lanes, "ANSWER_LIMIT", 0.3)

    await lane.ask(ask, "SELECT 1")
    with pytest.raises(CONNECTION_ERRORS):
        await lane.ask(ask, NAP[database])
    await lane.ask(discard_connection, "default")

    assert await lane.ask(ask, "SELECT 2") == 2


async def test_a_lane_that_rests_looks_until_there_is_something(lane: Lane) -> None:
    """It does so in its own thread, and leaves the event loop in peace."""
    threads: list[threading.Thread] = []

    def look() -> bool:
        threads.append(threading.current_thread())
        return len(threads) == 3

    await asyncio.wait_for(lane.rest(look, lambda: 0.01, unheard), 10)

    assert threads == [await lane.run(threading.current_thread)] * 3


@pytest.mark.parametrize(
    "disturb", [Lane.stir, lambda lane: lane.submit(int)], ids=["stir", "submit"]
)
async def test_a_lane_that_rests_is_there_when_it_is_needed(
    lane: Lane, disturb: Callable[[Lane], Any]
) -> None:
    """It need not have looked once."""
    resting = asyncio.create_task(lane.rest(lambda: False, lambda: 60.0, unheard))
    await asyncio.sleep(0)

    disturb(lane)

    await asyncio.wait_for(resting, 10)


@pytest.mark.may_block("a loop that was not held is not late")
async def test_a_loop_that_rests_with_its_lane_hears_how_late_it_turns(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else would notice while nothing is due."""
    monkeypatch.setattr(_lanes, "ANSWER_LIMIT", BLOCK / 10)
    loop = asyncio.get_running_loop()
    late: list[float] = []
    blocks = iter([BLOCK])  # one: a loop that gets more of them than it can take never turns

    def look() -> bool:
        for seconds in blocks:
            loop.call_soon_threadsafe(time.sleep, seconds)
        return bool(late)

    def turned(expected_at: float) -> None:
        late.append(time.monotonic() - expected_at)

    await asyncio.wait_for(lane.rest(look, lambda: BLOCK / 10, turned), 10)

    assert max(late) > BLOCK / 2


async def test_a_lane_does_not_go_on_resting_for_nobody(lane: Lane) -> None:
    """Who waits for it may be cancelled."""
    resting = asyncio.create_task(lane.rest(lambda: False, lambda: 60.0, unheard))
    await asyncio.sleep(0)
    resting.cancel()

    assert await asyncio.wait_for(lane.run(int), 10) == 0
    assert resting.cancelled()


@pytest.mark.parametrize(
    ("raised", "arrives"),
    [(OperationalError("away"), OperationalError), (SystemExit("away"), RuntimeError)],
)
async def test_what_a_look_raises_ends_the_rest(
    lane: Lane, raised: BaseException, arrives: type[Exception]
) -> None:
    """Whoever waits for the lane hears of it, and no trigger's SystemExit ends the process."""

    def look() -> bool:
        raise raised

    with pytest.raises(arrives, match="away"):
        await asyncio.wait_for(lane.rest(look, lambda: 0.0, unheard), 10)


async def test_a_look_that_the_database_does_not_answer_is_given_up(
    lane: Lane, database: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As any other question: its connection is broken."""
    if database == "sqlite":
        pytest.skip(FILE_DOES_NOT_BREAK)
    monkeypatch.setattr(_lanes, "ANSWER_LIMIT", 0.3)

    await lane.ask(ask, "SELECT 1")
    with pytest.raises(CONNECTION_ERRORS):
        await asyncio.wait_for(lane.rest(lambda: ask(NAP[database]), lambda: 0.0, unheard), 10)
    await lane.ask(discard_connection, "default")

    assert await lane.ask(ask, "SELECT 2") == 2


def test_close_closes_the_connections(make_pool: Callable[[int], LanePool]) -> None:
    """No server has to wait for the end of the process to be rid of them."""
    pool = make_pool(2)
    runs = [pool.for_run() for _ in range(2)]
    wrappers = [done(run, lambda: (count_notes(), connections["default"])[1]) for run in runs]
    assert all(wrapper.connection is not None for wrapper in wrappers)

    close(pool)

    assert all(wrapper.connection is None for wrapper in wrappers)


def others_may_write(path: str) -> bool:
    """Return True if another connection gets SQLite's write lock at once."""
    other = sqlite3.connect(path, isolation_level=None, timeout=0)
    try:
        other.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    finally:
        other.close()
    return True


def read_in_transaction() -> bool:
    """Begin a transaction, read, and return whether others may write meanwhile."""
    with transaction.atomic():
        count_notes()
        return others_may_write(str(connections["default"].settings_dict["NAME"]))


def test_a_transaction_of_a_lane_takes_the_write_lock_when_it_begins(
    lane: Lane, database: Vendor
) -> None:
    """A lane's transaction that has only read keeps others from writing; this thread's does not."""
    if database != "sqlite":
        pytest.skip(ONLY_SQLITE)
    threads = JobThreads(1)

    assert read_in_transaction() is True
    assert done(lane, read_in_transaction) is False
    assert threads.submit(read_in_transaction).result(30) is False
    threads.close()


def test_the_project_has_the_last_word_on_how_transactions_begin(
    database: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`transaction_mode` in OPTIONS counts more than ours."""
    if database != "sqlite":
        pytest.skip(ONLY_SQLITE)
    options = {"transaction_mode": "DEFERRED"}
    monkeypatch.setitem(connections.settings["default"], "OPTIONS", options)
    lane = Lane("test")

    assert done(lane, read_in_transaction) is True
    lane.close()


def test_a_deadlock_is_told_from_other_errors(database: Vendor) -> None:
    """Two that lock the same two rows in opposite order: the database ends one of them."""
    if database == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    notes = [Note.objects.create(text=text).pk for text in ("first", "second")]
    both_hold_one = threading.Barrier(2)
    errors: list[Exception] = []

    def lock(*keys: int) -> None:
        try:
            with transaction.atomic():
                Note.objects.select_for_update().get(pk=keys[0])
                both_hold_one.wait(30)
                Note.objects.select_for_update().get(pk=keys[1])
        except OperationalError as error:
            errors.append(error)

    lanes = [Lane("one"), Lane("other")]
    ends = [lanes[0].submit(lock, *notes), lanes[1].submit(lock, *reversed(notes))]
    for end in ends:
        end.result(30)
    for lane in lanes:
        lane.close()

    assert [is_deadlock(error) for error in errors] == [True]
    assert not is_deadlock(OperationalError("server closed the connection unexpectedly"))


def prepared_statements() -> int:
    """Ask the same twice, and return how many statements the server keeps for this connection."""
    with connections["default"].cursor() as cursor:
        for _ in range(2):
            cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        (number,) = cursor.fetchone()
    return int(number)


def leaves_values_to_the_server() -> bool:
    """Ask two questions at once, which a driver can only send with the values filled in."""
    try:
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT %s; SELECT %s", ["one", "two"])
    except ProgrammingError:
        return True
    return False


def test_only_what_jobs_ask_is_prepared_where_the_project_wants_that(
    database: Vendor, queries: Queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduler's own statements are slow with a plan that does not know what they are about."""
    if database != "postgresql":
        pytest.skip("only PostgreSQL's driver prepares statements")
    options = {"server_side_binding": True, "prepare_threshold": 0}
    monkeypatch.setitem(connections.settings["default"], "OPTIONS", options)
    ours, theirs = Lane("test"), Lane("test", query_wrapper=queries)

    assert done(ours, prepared_statements) == 0
    assert done(theirs, prepared_statements) > 0
    assert not done(ours, leaves_values_to_the_server)
    assert done(theirs, leaves_values_to_the_server)
    ours.close()
    theirs.close()


ISOLATION = {
    "postgresql": "SHOW transaction_isolation",
    # One name is MariaDB's, the other MySQL's.
    "mysql": "SHOW VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')",
}


def isolation() -> str:
    """Return how much a transaction of this thread is isolated from others."""
    with transaction.atomic(), connections["default"].cursor() as cursor:
        cursor.execute(ISOLATION[connections["default"].vendor])
        level = cursor.fetchone()[-1]
    return str(level).lower().replace("-", " ")


def test_only_what_jobs_do_is_isolated_as_the_project_wants(
    database: Vendor, queries: Queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduler's own statements are made to see what others have just committed."""
    if database == "sqlite":
        pytest.skip("SQLite knows one isolation level only")
    level: Any = "serializable"
    if database == "postgresql":
        level = connections["default"].Database.IsolationLevel.SERIALIZABLE
    options = {**connections.settings["default"].get("OPTIONS", {}), "isolation_level": level}
    monkeypatch.setitem(connections.settings["default"], "OPTIONS", options)
    ours, theirs = Lane("test"), Lane("test", query_wrapper=queries)

    assert done(ours, isolation) == "read committed"
    assert done(theirs, isolation) == "serializable"
    ours.close()
    theirs.close()


def test_threads_of_a_scheduler_keep_a_connection_where_the_project_has_a_pool(
    database: Vendor, queries: Queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They do not wait for a pool of one, which another thread may have emptied."""
    if database != "postgresql":
        pytest.skip("only Django's backend for PostgreSQL has a pool")
    options = {"pool": {"min_size": 1, "max_size": 1}}
    monkeypatch.setitem(connections.settings["default"], "OPTIONS", options)
    lanes = [Lane("test"), Lane("test", query_wrapper=queries)]
    threads = JobThreads(1, query_wrapper=queries)

    kept = []
    for submit in (lanes[0].submit, lanes[1].submit, threads.submit):
        submit(count_notes).result(30)
        submit(close_old_connections).result(30)
        kept.append(submit(raw).result(30))

    assert None not in kept
    threads.submit(connections.close_all).result(30)
    threads.close()
    for lane in lanes:
        lane.close()


def test_lanes_that_read_and_then_write_do_not_lock_each_other_out(
    make_pool: Callable[[int], LanePool],
) -> None:
    """Four threads count up the same number, a hundred times in all; none fails, none is lost."""
    key = Note.objects.create(text="0").pk
    pool = make_pool(4)
    lanes = [pool.acquire() for _ in range(4)]

    def count_up() -> None:
        with transaction.atomic():
            note = Note.objects.select_for_update().get(pk=key)
            note.text = str(int(note.text) + 1)
            note.save()

    futures = [lane.submit(count_up) for _ in range(25) for lane in lanes]
    for future in futures:
        future.result(30)

    assert Note.objects.get(pk=key).text == "100"


def patience_of_sqlite() -> int:
    """Return for how many milliseconds SQLite waits for a lock on this thread's connection."""
    with connections["default"].cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        return int(cursor.fetchone()[0])


@pytest.fixture
def locked_file(database: Vendor) -> Iterator[sqlite3.Connection]:
    """The write lock of the tests' file, held by somebody else."""
    if database != "sqlite":
        pytest.skip(ONLY_SQLITE)
    name = connections["default"].settings_dict["NAME"]
    other = sqlite3.connect(name, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()


def test_an_eager_transaction_asks_again_until_the_lock_is_free(
    locked_file: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the lock as soon as it is free, and leaves the connection as it was."""
    lane = Lane("test")  # there transactions take the lock when they begin
    before = done(lane, patience_of_sqlite)
    tries = 0
    atomic = transaction.atomic

    def count_and_free(*args: Any, **kwargs: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries == 3:
            locked_file.execute("COMMIT")
        return atomic(*args, **kwargs)

    def write_twice() -> None:
        with eager_transaction("default"):
            Note.objects.create(text="written")
            with eager_transaction("default"):
                Note.objects.create(text="inside another")

    monkeypatch.setattr(transaction, "atomic", count_and_free)
    done(lane, write_twice)

    assert tries > 3
    assert Note.objects.count() == 2
    assert done(lane, patience_of_sqlite) == before
    lane.close()


def test_an_eager_transaction_asks_again_for_nothing_but_a_lock(
    database: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite has not waited before another error: to try again at once would burn a processor."""
    if database != "sqlite":
        pytest.skip(ONLY_SQLITE)
    tries = []

    def fail(**options: Any) -> Any:
        tries.append(options)
        raise OperationalError("disk I/O error")

    monkeypatch.setattr(transaction, "atomic", fail)
    with pytest.raises(OperationalError, match="disk"), eager_transaction("default"):
        raise AssertionError("It has begun, although the disk is broken.")

    assert len(tries) == 1


def test_an_eager_transaction_does_not_wait_for_ever(
    locked_file: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the project says, by default five seconds; then it fails as any other does."""
    monkeypatch.setitem(connections.settings["default"], "OPTIONS", {"timeout": 0.05})
    lane = Lane("test")

    def write() -> None:
        with eager_transaction("default"):
            Note.objects.create(text="written")

    with pytest.raises(OperationalError, match="locked"):
        done(lane, write)

    assert done(lane, patience_of_sqlite) == 50
    lane.close()


def server_connections() -> set[int]:
    """Return the process ids of PostgreSQL's connections to this test's database."""
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
        return {pid for (pid,) in cursor.fetchall()}


async def test_connections_of_a_scheduler_stay_within_their_bounds(
    start: Start, database: Vendor, settings: Any
) -> None:
    """100 coroutines and some functions at once, all of which use the ORM: few connections."""
    if database != "postgresql":
        pytest.skip("only PostgreSQL tells whose connections there are")
    settings.ASYNC_APSCHEDULER = {"DB_THREADS": 3, "THREADS": 2}
    work.gates["network"] = asyncio.Event()
    look = sync_to_async(server_connections)
    before = await look()  # also those of this test: two threads ask, and both have asked now
    most = 0

    async def are_open(done: Callable[[], bool]) -> bool:
        nonlocal most
        most = max(most, len(await look() - before))
        return done()

    scheduler = await start()
    await sync_to_async(schedule_at_once)()
    await await_until(lambda: are_open(lambda: len(work.seen) >= 100 + 2), timeout=40)
    assert scheduler.active_runs >= 100
    while_they_wait = len(await look() - before)
    work.gates["network"].set()
    work.thread_gate.set()
    await await_until(lambda: are_open(lambda: scheduler.active_runs == 0), timeout=40)
    after = len(await look() - before)
    await scheduler.ashutdown()

    async def all_closed() -> bool:
        return not await look() - before

    await await_until(all_closed)
    assert while_they_wait >= 3 + 2
    assert most <= 3 + 2 + 4
    assert after <= 3 + 2 + 4


@transaction.atomic
def schedule_at_once() -> None:
    """Schedule 100 coroutine jobs and ten functions that touch the database and then wait."""
    for number in range(100):
        DjangoJob.objects.schedule(work.read_then_wait, args=[f"{number}"], id=f"job-{number}")
    for number in range(10):
        DjangoJob.objects.schedule(work.read_then_wait_in_thread, id=f"function-{number}")
