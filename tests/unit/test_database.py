"""Lanes: who gets which thread, for how long, and what is done in it for the connections."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import DataError, InterfaceError, OperationalError, connections

from async_apscheduler._database import JobThreads, Lane, LanePool, _pool, _threads, retrying_once
from async_apscheduler._database._connections import MYSQL_DEADLOCK
from tests.support import wait_until

MakePool = Callable[[int], LanePool]


@pytest.fixture
def make_pool() -> Iterator[MakePool]:
    """Make pools of so many lanes; they are closed after the test."""
    pools: list[LanePool] = []

    def make(size: int) -> LanePool:
        pools.append(LanePool(size))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


@pytest.fixture
def cleanings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, threading.Thread]]:
    """What was done for the connections, "close old" or "replace broken", and in which thread."""
    done: list[tuple[str, threading.Thread]] = []

    def instead_of(name: str) -> Callable[[], None]:
        return lambda: done.append((name, threading.current_thread()))

    for module in (_pool, _threads):
        monkeypatch.setattr(module, "close_old_connections", instead_of("close old"))
    monkeypatch.setattr(_pool, "replace_broken_connections", instead_of("replace broken"))
    return done


def thread_of(executor: Executor) -> threading.Thread:
    """Return the thread that works for the executor; fail if that must be waited for."""
    return executor.submit(threading.current_thread).result(timeout=10)


def test_a_run_keeps_its_thread_to_its_end(make_pool: MakePool) -> None:
    """However many runs come and go meanwhile, each call is made in the same thread."""
    pool = make_pool(3)
    run = pool.for_run()
    first = thread_of(run)

    for _ in range(10):
        other = pool.for_run()
        thread_of(other)
        other.release()

        assert thread_of(run) is first


def test_runs_have_lanes_of_their_own_while_there_are_free_ones(make_pool: MakePool) -> None:
    """As many runs as lanes have as many threads."""
    pool = make_pool(4)

    runs = [pool.for_run() for _ in range(4)]

    assert len({thread_of(run) for run in runs}) == 4


def test_a_run_that_never_touches_the_database_takes_no_lane(make_pool: MakePool) -> None:
    """A lane is taken at the first call, not before."""
    pool = make_pool(1)
    pool.for_run().release()
    waiting = [pool.for_run() for _ in range(5)]

    lane = pool.acquire()

    assert lane.runs == 1
    assert len(waiting) == 5


def test_a_newcomer_shares_the_lane_with_the_fewest_runs(make_pool: MakePool) -> None:
    """When all lanes are taken nobody waits, and the lanes fill evenly."""
    pool = make_pool(3)
    runs = [pool.for_run() for _ in range(9)]

    threads = Counter(thread_of(run) for run in runs)

    assert sorted(threads.values()) == [3, 3, 3]
    emptiest = thread_of(runs[4])
    for run in runs:
        if thread_of(run) is emptiest:
            run.release()
            break
    assert thread_of(pool.for_run()) is emptiest


def test_an_idle_lane_is_used_again_before_a_thread_is_made(make_pool: MakePool) -> None:
    """Runs one after the other share one thread, though there might be more."""
    pool = make_pool(5)
    threads = set()

    for _ in range(10):
        run = pool.for_run()
        threads.add(thread_of(run))
        run.release()

    assert len(threads) == 1


def test_a_lane_is_idle_only_when_its_last_run_has_ended(make_pool: MakePool) -> None:
    """A lane that was shared and is left by one of two runs is not free yet."""
    pool = make_pool(1)
    first, second = pool.for_run(), pool.for_run()
    lane = thread_of(first)
    thread_of(second)
    first.release()

    third = pool.acquire()

    assert thread_of(third) is lane
    assert third.runs == 2


async def test_many_concurrent_runs_never_have_more_threads_than_lanes(
    make_pool: MakePool,
) -> None:
    """200 runs at once, each with several calls, use the pool's threads and no others."""
    pool = make_pool(3)
    all_have_begun = asyncio.Event()
    begun = 0

    async def job() -> set[threading.Thread]:
        nonlocal begun
        run = pool.for_run()
        async with ThreadSensitiveContext(executor=run):
            threads = {await sync_to_async(threading.current_thread)()}
            begun += 1
            if begun == 200:
                all_have_begun.set()
            await all_have_begun.wait()
            threads |= {await sync_to_async(threading.current_thread)() for _ in range(3)}
        run.release()
        return threads

    used = await asyncio.gather(*(job() for _ in range(200)))

    assert all(len(threads) == 1 for threads in used)
    assert len(set.union(*used)) == 3


async def test_nothing_outside_a_run_uses_its_lane(make_pool: MakePool) -> None:
    """Neither what comes before and after it, nor what goes on beside it."""
    run = make_pool(1).for_run()
    lane = await asyncio.wrap_future(run.submit(threading.current_thread))
    outside = [await sync_to_async(threading.current_thread)()]

    async def beside() -> None:
        outside.append(await sync_to_async(threading.current_thread)())

    task = asyncio.create_task(beside())
    async with ThreadSensitiveContext(executor=run):
        inside = await sync_to_async(threading.current_thread)()
        await task
        again = await sync_to_async(threading.current_thread)()
    outside.append(await sync_to_async(threading.current_thread)())

    assert inside is again is lane
    assert inside not in outside


async def test_two_runs_that_wait_for_each_other_both_end(make_pool: MakePool) -> None:
    """Neither has to leave the only lane before the other gets its turn."""
    pool = make_pool(1)
    first_came, second_came = asyncio.Event(), asyncio.Event()

    async def job(mine: asyncio.Event, others: asyncio.Event) -> bool:
        run = pool.for_run()
        async with ThreadSensitiveContext(executor=run):
            await sync_to_async(threading.current_thread)()
            mine.set()
            await others.wait()
            await sync_to_async(threading.current_thread)()
        run.release()
        return True

    jobs = asyncio.gather(job(first_came, second_came), job(second_came, first_came))

    assert await asyncio.wait_for(jobs, 10) == [True, True]


def test_connections_are_cleaned_before_the_first_and_after_the_last_run(
    make_pool: MakePool, cleanings: list[tuple[str, threading.Thread]]
) -> None:
    """In between, while the lane is shared, only broken ones are replaced; all in its thread."""
    pool = make_pool(1)
    first, second = pool.for_run(), pool.for_run()
    lane = thread_of(first)
    thread_of(second)
    first.release()
    second.release()

    third = pool.for_run()
    thread_of(third)

    words = ["close old", "replace broken", "close old", "close old"]
    assert cleanings == [(word, lane) for word in words]


def test_a_function_in_a_thread_has_clean_connections_before_and_after(
    cleanings: list[tuple[str, threading.Thread]],
) -> None:
    """Also when it raises."""
    threads = JobThreads(1)

    thread = threads.submit(threading.current_thread).result(10)
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 / 0).result(10)

    wait_until(lambda: len(cleanings) == 4)
    assert cleanings == [("close old", thread)] * 4
    threads.close()


def test_functions_share_no_more_threads_than_there_are() -> None:
    """JobThreads runs as many functions at once as its size says, and the others later."""
    threads = JobThreads(2)
    gate = threading.Event()
    running: list[threading.Thread] = []

    def work() -> None:
        running.append(threading.current_thread())
        gate.wait(10)

    futures = [threads.submit(work) for _ in range(6)]
    wait_until(lambda: len(running) == 2)
    gate.set()
    for future in futures:
        future.result(10)

    assert len(running) == 6
    assert len(set(running)) == 2
    threads.close()


async def test_the_loop_goes_on_while_a_lane_works() -> None:
    """Lane.run() returns the result of a function that waits for the loop itself."""
    lane = Lane("test")
    opened = threading.Event()

    def work(word: str, *, twice: bool) -> str:
        assert opened.wait(10)
        return word * 2 if twice else word

    running = asyncio.create_task(lane.run(work, "ha", twice=True))
    await asyncio.sleep(0)  # let it begin
    opened.set()

    assert await running == "haha"
    lane.close()


async def test_what_a_function_raises_in_a_lane_is_raised_to_the_caller() -> None:
    """The lane itself goes on."""
    lane = Lane("test")

    with pytest.raises(ZeroDivisionError):
        await lane.run(lambda: 1 / 0)

    assert await lane.run(lambda: "goes on") == "goes on"
    lane.close()


def test_close_ends_the_thread_of_a_lane() -> None:
    """What was submitted before is still done; closing twice changes nothing."""
    lane = Lane("test")
    thread = thread_of(lane)
    gate = threading.Event()
    last = lane.submit(gate.wait, 10)

    lane.close()
    lane.close()
    gate.set()

    assert last.result(10) is True
    thread.join(10)
    assert not thread.is_alive()
    with pytest.raises(RuntimeError):
        lane.submit(print)


def test_close_ends_the_threads_of_a_pool(make_pool: MakePool) -> None:
    """Those of idle lanes and those that runs still hold; a late release() changes nothing."""
    pool = make_pool(3)
    runs = [pool.for_run() for _ in range(3)]
    threads = [thread_of(run) for run in runs]
    runs[0].release()

    pool.close()

    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    runs[1].release()


def test_close_ends_the_threads_of_plain_functions() -> None:
    """A function that has begun comes to its end; those that have not never begin."""
    threads = JobThreads(1)
    gate = threading.Event()
    begun = threads.submit(gate.wait, 10)
    waiting = threads.submit(gate.wait, 10)
    wait_until(begun.running)

    threads.close()
    gate.set()

    assert begun.result(10) is True
    assert waiting.cancelled()


class Failing:
    """A function that raises, and counts how often it is called."""

    def __init__(self, error: Exception, *, times: int) -> None:
        self.calls = 0
        self._error = error
        self._times = times

    def __call__(self, word: str) -> str:
        self.calls += 1
        if self.calls <= self._times:
            raise self._error
        return word


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Django's connection of this thread, as if it were open, and dead."""
    connection = connections["default"]
    monkeypatch.setattr(connection, "connection", object())
    monkeypatch.setattr(connection, "is_usable", lambda: False)
    monkeypatch.setattr(connection, "close", lambda: setattr(connection, "connection", None))
    return connection


@pytest.mark.parametrize("error", [OperationalError("gone away"), InterfaceError("closed")])
def test_a_call_on_a_dead_connection_is_made_once_more(connection: Any, error: Exception) -> None:
    """The dead connection is dropped before, so that the second call opens a new one."""
    work = Failing(error, times=1)

    assert retrying_once("default", work, "done") == "done"
    assert work.calls == 2
    assert connection.connection is None


def test_a_call_is_not_made_a_third_time(connection: Any) -> None:
    """What the second call raises is raised."""
    work = Failing(OperationalError("gone away"), times=2)

    with pytest.raises(OperationalError):
        retrying_once("default", work, "never")

    assert work.calls == 2


def test_inside_a_transaction_a_call_is_not_repeated(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What went before in the transaction is lost; only the caller can do it over."""
    monkeypatch.setattr(connection, "in_atomic_block", True)
    before = connection.connection
    work = Failing(OperationalError("gone away"), times=1)

    with pytest.raises(OperationalError):
        retrying_once("default", work, "never")

    assert work.calls == 1
    assert connection.connection is before


def test_an_error_on_a_good_connection_is_not_repeated(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that the database refuses would be refused again."""
    monkeypatch.setattr(connection, "is_usable", lambda: True)
    work = Failing(OperationalError("database is locked"), times=1)

    with pytest.raises(OperationalError):
        retrying_once("default", work, "never")

    assert work.calls == 1


def test_a_victim_of_a_deadlock_calls_once_more(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same connection: nothing is wrong with it."""
    monkeypatch.setattr(connection, "is_usable", lambda: True)
    before = connection.connection
    work = Failing(OperationalError(MYSQL_DEADLOCK, "Deadlock found"), times=1)

    assert retrying_once("default", work, "done") == "done"
    assert work.calls == 2
    assert connection.connection is before


@pytest.mark.parametrize("error", [ValueError("mistake"), DataError("too long")])
def test_an_error_that_says_nothing_of_the_connection_is_not_repeated(
    connection: Any, error: Exception
) -> None:
    """Not even if the connection happens to be dead."""
    work = Failing(error, times=1)

    with pytest.raises(type(error)):
        retrying_once("default", work, "never")

    assert work.calls == 1
