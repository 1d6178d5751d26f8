"""What happens to SQLite's one file: others hold its lock, or the disk has no room for it."""

from __future__ import annotations

import resource
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import connection, connections

from tests.acceptance.faults.fault import Outcome
from tests.acceptance.faults.nodes import Node
from tests.acceptance.faults.outages import while_away
from tests.acceptance.faults.stage import Stage
from tests.acceptance.faults.waiting import until

WRITER_PAUSE = 0.001
"""Seconds for which the other writer holds the lock, and then leaves it to others."""

WAIT_FOR_LOCK = 30.0
TAIL = 6.0
"""Seconds for which jobs go on becoming due when all is well again."""


def locked(stage: Stage) -> Outcome:
    """Let another process of the project hold the lock for long."""
    seconds = stage.pick(quick=8, long=30)
    node = stage.start_several(1)[0]
    keys = _stream(stage, seconds)

    def away() -> None:
        with _other_connection() as other:
            other.execute("BEGIN EXCLUSIVE")
            time.sleep(seconds)  # the fault itself

    return while_away(stage, node, keys, away, seconds)


def busy(stage: Stage) -> Outcome:
    """Let another process take and leave the lock, a millisecond each."""
    seconds = stage.pick(quick=8, long=60)
    nodes = stage.start_several(2)
    keys = _stream(stage, seconds)
    over = threading.Event()
    writer = threading.Thread(target=_write_on_and_off, args=(over,))
    writer.start()
    try:
        return while_away(
            stage, nodes[0], keys, lambda: time.sleep(seconds), seconds, must_be_told=False
        )
    finally:
        over.set()
        writer.join()


def full(stage: Stage) -> Outcome:
    """Leave no room: the scheduler may not make its file, or the journal, any longer."""
    seconds = stage.pick(quick=8, long=20)
    node = stage.start_several(1)[0]
    keys = _stream(stage, seconds)
    path = Path(connection.settings_dict["NAME"])

    def away() -> None:
        with _no_room(node, path.stat().st_size):
            time.sleep(seconds)  # the fault itself

    outcome = while_away(stage, node, keys, away, seconds)
    with _other_connection() as other:
        [(verdict,)] = other.execute("PRAGMA integrity_check").fetchall()
    outcome.expect(verdict == "ok", f"the file is damaged: {verdict}")
    return outcome


def _stream(stage: Stage, seconds: float) -> list[str]:
    keys = stage.stream("job", seconds + TAIL, every=0.1)
    until(lambda: stage.book.started_at("job-5"), 10)
    connections.close_all()
    return keys


@contextmanager
def _no_room(node: Node, size: int) -> Iterator[None]:
    """Let every write of the process fail that would make a file longer than `size` bytes.

    For SQLite a write beyond RLIMIT_FSIZE is an error of the disk, like the one for a full disk.
    """
    before = resource.prlimit(node.pid, resource.RLIMIT_FSIZE)
    # The journal begins anew with each transaction; a small limit stops it as well.
    resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (min(size, 8192), before[1]))
    try:
        yield
    finally:
        resource.prlimit(node.pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def _other_connection() -> Iterator[sqlite3.Connection]:
    other = sqlite3.connect(
        connection.settings_dict["NAME"], isolation_level=None, timeout=WAIT_FOR_LOCK
    )
    try:
        yield other
    finally:
        other.close()


def _write_on_and_off(over: threading.Event) -> None:
    with _other_connection() as other:
        while not over.wait(WRITER_PAUSE):
            other.execute("BEGIN IMMEDIATE")
            time.sleep(WRITER_PAUSE)  # the fault itself
            other.execute("COMMIT")
