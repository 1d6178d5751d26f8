"""Hear of changes made elsewhere, so that passes need not look again and again.

PostgreSQL passes on the notices that writers send (see ``models.notices``). SQLite counts commits,
which is cheaper to ask than what they were about. Elsewhere there is nothing to hear.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

from django.db import connections

from async_apscheduler._database import Lane, retrying_once
from async_apscheduler.conf import get_settings
from async_apscheduler.engine.backoff import Backoff
from async_apscheduler.engine.nodes import Node
from async_apscheduler.exceptions import AsyncAPSchedulerError
from async_apscheduler.models.notices import CHANNEL, cancel_on, send_notice, work_for
from async_apscheduler.signals import work_failed, work_resumed

CHECK_INTERVAL = 30.0
"""Seconds between two proofs that notices come through."""

ANSWER_LIMIT = 5.0
"""Seconds that such a proof may take, and a new connection."""

DEAF_PAUSE = 60.0
"""Seconds until the next try on a server through which no notice has come at all."""

STOP_LIMIT = 1.0
"""Seconds that stop() waits for a connection that hangs."""


class NothingHeardError(AsyncAPSchedulerError):
    """A notice of our own did not arrive."""


class Wakeup:
    """Listens, in a thread and on a connection of its own, and wakes this node when it is meant.

    `wake` is called in that thread. `lane` is where a notice is sent from to prove that notices
    arrive: behind a pooler that gives each transaction another connection LISTEN succeeds, and then
    nothing is ever heard.
    """

    def __init__(self, node: Node, lane: Lane, wake: Callable[[], None]) -> None:
        self.is_listening = False
        """True while notices are known to arrive, so that there is no need to poll."""
        self._node = node
        self._lane = lane
        self._wake = wake
        self._database = get_settings().database
        self._backoff = Backoff()
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._work, name="wakeup", daemon=True)

    def start(self) -> None:
        """Begin to listen, if database and driver can: PostgreSQL with psycopg 3.2 or newer."""
        if _can_listen(connections[self._database]):
            self._loop = asyncio.SelectorEventLoop()  # psycopg works with no other on Windows
            self._thread.start()

    async def stop(self) -> None:
        """Stop listening, and close the connection."""
        if self._loop is None:
            return
        with suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._stop.set)
        await asyncio.to_thread(self._thread.join, STOP_LIMIT)

    def _work(self) -> None:
        assert self._loop is not None
        try:
            self._loop.run_until_complete(self._listen_until_stopped())
        finally:
            self.is_listening = False
            self._loop.close()

    async def _listen_until_stopped(self) -> None:
        listening = asyncio.create_task(self._listen_again_and_again())
        await self._stop.wait()
        listening.cancel()
        await asyncio.wait((listening,))

    async def _listen_again_and_again(self) -> None:
        while True:
            try:
                await self._listen()
            except Exception as error:
                await asyncio.sleep(self._failed(error))

    async def _listen(self) -> None:
        connection = await self._connect()
        try:
            await connection.execute(f"LISTEN {CHANNEL}")
            while True:
                if not await self._hear(connection, ANSWER_LIMIT, until=self._say_hello()):
                    raise NothingHeardError(
                        f"No notice came through within {ANSWER_LIMIT:g} seconds, so this "
                        "scheduler polls. A connection pooler in transaction mode cannot pass on "
                        "notices; connect schedulers directly."
                    )
                self._succeeded()
                await self._hear(connection, CHECK_INTERVAL)
        finally:
            await connection.close()

    async def _connect(self) -> Any:
        wrapper: Any = connections[self._database]
        params = {"connect_timeout": ANSWER_LIMIT, **wrapper.get_connection_params()}
        del params["cursor_factory"]  # Django's is for connections that wait in their thread
        return await wrapper.Database.AsyncConnection.connect(**params, autocommit=True)

    def _say_hello(self) -> str:
        notice = f"hello {uuid4().hex}"
        self._lane.submit(retrying_once, self._database, send_notice, self._database, notice)
        return notice

    async def _hear(self, connection: Any, seconds: float, *, until: str | None = None) -> bool:
        """Take what arrives within some seconds; return True as soon as `until` is among it."""
        deadline = time.monotonic() + seconds
        is_heard = False
        while not is_heard and (left := deadline - time.monotonic()) > 0:
            await _wait_until_readable(connection.fileno(), left)
            connection.pgconn.consume_input()
            while arrived := connection.pgconn.notifies():
                notice = arrived.extra.decode()
                is_heard = is_heard or notice == until
                self._take(notice)
        return is_heard

    def _take(self, notice: str) -> None:
        if notice in (work_for(get_settings().environment), cancel_on(self._node.id)):
            self._wake()

    def _succeeded(self) -> None:
        if not self.is_listening:
            self.is_listening = True
            self._wake()  # what was sent before has not been heard
        if self._backoff.succeeded():
            work_resumed.send_robust(type(self), part="listener")

    def _failed(self, error: Exception) -> float:
        """Tell it, and return how many seconds to wait before the next try."""
        was_listening, self.is_listening = self.is_listening, False
        pause = self._backoff.failed()
        if was_listening:
            self._wake()  # the passes poll from now on
        elif isinstance(error, NothingHeardError):
            pause = DEAF_PAUSE
        work_failed.send_robust(type(self), part="listener", error=error, retry_in=pause)
        return pause


class CommitCounter:
    """Tells whether anybody has written; where the database does not count that, always yes.

    Used in one lane. What is written in that lane itself does not count.
    """

    def __init__(self) -> None:
        self._seen: tuple[Any, int] | None = None

    def has_moved(self) -> bool:
        """Return True if others may have committed something since the last call."""
        connection = connections[get_settings().database]
        if connection.vendor != "sqlite":
            return True
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA data_version")
            # The number says something about one connection only.
            seen = (connection.connection, cursor.fetchone()[0])
        has_moved = seen != self._seen
        self._seen = seen
        return has_moved


async def _wait_until_readable(file: int, seconds: float) -> None:
    """Wait for something to read.

    psycopg's own way looks ten times a second whether it was interrupted, which costs more than all
    else that an idle scheduler does.
    """
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(file, readable.set)
    try:
        async with asyncio.timeout(seconds):
            await readable.wait()
    except TimeoutError:
        pass  # nothing has come
    finally:
        loop.remove_reader(file)


def _can_listen(connection: Any) -> bool:
    if connection.vendor != "postgresql":
        return False
    driver = connection.Database  # psycopg2 has nothing that waits for notices
    if driver.__name__ != "psycopg":
        return False
    major, minor = driver.__version__.split(".")[:2]
    return (int(major), int(minor)) >= (3, 2)
