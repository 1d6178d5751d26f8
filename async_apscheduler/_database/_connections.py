"""Single connections: whether they live, and what to do when they do not."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

from django.db import InterfaceError, InternalError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

P = ParamSpec("P")
T = TypeVar("T")

QueryWrapper = Callable[..., Any]
"""A function for Django's ``connection.execute_wrapper``."""

CONNECTION_ERRORS = (OperationalError, InterfaceError, InternalError)
"""What a database raises when it is away, restarted, locked or out of space."""

MYSQL_DEADLOCK = 1213
POSTGRESQL_DEADLOCK = "40P01"


def is_deadlock(error: Exception) -> bool:
    """Return True if the database ended a transaction because it and another waited in a circle.

    That happens to correct programs, too; the transaction is to be done over.
    """
    cause = error.__cause__
    code = error.args[0] if error.args else None
    return code == MYSQL_DEADLOCK or getattr(cause, "sqlstate", None) == POSTGRESQL_DEADLOCK


def database_now(database: str) -> datetime:
    """Return the time by the clock of the database server, aware, in UTC."""
    connection = connections[database]
    question = {
        "postgresql": "SELECT clock_timestamp() AT TIME ZONE 'UTC'",
        "mysql": "SELECT UTC_TIMESTAMP(6)",
    }.get(connection.vendor)
    if question is None:  # SQLite lives in this process
        return datetime.now(UTC)
    with connection.cursor() as cursor:
        cursor.execute(question)
        moment: datetime = cursor.fetchone()[0]
    return moment.replace(tzinfo=UTC)


def discard_connection(database: str) -> None:
    """Close this thread's connection after an error, so that the next query opens a new one."""
    connection = connections[database]
    if connection.in_atomic_block:
        return
    try:
        connection.close()
    except CONNECTION_ERRORS:
        connection.connection = None


def retrying_once(database: str, func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `func`, and once more if the connection to `database` turns out to be dead.

    And once more after a deadlock. Not inside a transaction: there the caller has to start over.
    """
    connection = connections[database]
    before = connection.connection
    try:
        return func(*args, **kwargs)
    except CONNECTION_ERRORS as error:
        if connection.in_atomic_block:
            raise
        if not is_deadlock(error):
            # An atomic block that ends on a dead connection has replaced it already.
            is_replaced = before is not None and connection.connection is not before
            if is_alive(connection) and not is_replaced:
                raise
            discard_connection(database)
        return func(*args, **kwargs)


def replace_broken_connections() -> None:
    """Close connections that are dead, and no others: another run may be using them."""
    for connection in connections.all(initialized_only=True):
        if connection.errors_occurred and not connection.in_atomic_block:
            if not is_alive(connection):
                connection.close()
            connection.errors_occurred = False


def is_alive(connection: BaseDatabaseWrapper) -> bool:
    # Django's backend for MySQL cannot be asked before there is a connection.
    return connection.connection is not None and connection.is_usable()


CONNECT_TIMEOUT = 10
"""Seconds that a database may take to accept a connection."""

READ_TIMEOUT = 30
"""Seconds without a byte of an answer, where nothing else ends a handshake that hangs."""


NOT_OURS = ("prepare_threshold", "isolation_level", "server_side_binding")
"""Options that say how the project's own statements are to run.

Ours are made for READ COMMITTED, Django's default: where more is wanted, schedulers that claim at
the same time make each other's transactions fail. And the plan of a prepared statement knows
neither how many rows it is about nor of which status. Measured for 5,000 runs on PostgreSQL, two
times each: 3,462 and 3,849 a second instead of 7,522 and 8,395. Where the server puts the values
into a statement, a message has but one.
"""

KEPT_OPEN = {"CONN_MAX_AGE": 3600, "CONN_HEALTH_CHECKS": True}
"""Settings of a connection that a pool would lend, and keep for an hour at most.

The threads of a scheduler live as long as it does, and keep what they have. Django's pool lends
four connections unless it is told otherwise; whoever asks for a fifth gets an error, 30 seconds
later.
"""


def prepare_thread(wrapper: QueryWrapper | None = None, *, is_ours: bool = False) -> None:
    """Set up the connections of the calling thread, before any of them is opened.

    `wrapper` sees every query; `is_ours` says that only this package's own queries are made here,
    which are short: see NOT_OURS. Unless the project says otherwise, connecting gives up after
    CONNECT_TIMEOUT, and on SQLite transactions take the write lock when they begin: one that reads
    first and then writes, while another thread has written, fails at once with "database is locked"
    however long the timeout is. What the project says of a pool holds for its other threads: see
    KEPT_OPEN.
    """
    for connection in connections.all():
        if wrapper is not None:
            connection.execute_wrappers.append(wrapper)
        defaults = dict(_DEFAULT_OPTIONS.get(connection.vendor, {}))
        if is_ours and connection.vendor == "mysql":
            # What it calls a timeout of connecting ends before the handshake.
            defaults["read_timeout"] = READ_TIMEOUT
        options = {**defaults, **connection.settings_dict["OPTIONS"]}
        if is_ours:
            options = {name: value for name, value in options.items() if name not in NOT_OURS}
        settings = KEPT_OPEN if options.pop("pool", None) else {}
        connection.settings_dict = {**connection.settings_dict, "OPTIONS": options, **settings}


_DEFAULT_OPTIONS: dict[str, dict[str, Any]] = {
    "sqlite": {"transaction_mode": "IMMEDIATE"},
    "postgresql": {"connect_timeout": CONNECT_TIMEOUT},
    "mysql": {"connect_timeout": CONNECT_TIMEOUT},
}


SQLITE_TIMEOUT = 5.0
"""Seconds that Python's driver waits for SQLite's write lock, unless it is told otherwise."""

SQLITE_BUSY = 5
"""SQLite's code for a lock that somebody else holds; what lies above the low byte is a detail."""

SHORT_PATIENCE = 8
"""Milliseconds in which SQLite sleeps for 1, 2 and 5 of them, and no longer."""


@contextmanager
def eager_transaction(database: str) -> Iterator[None]:
    """See transaction.atomic(); on SQLite it gets its turn among others that write all the time.

    SQLite's own wait sleeps for up to a tenth of a second between two tries. While two others write
    by turns, with a few milliseconds between them, who waits like that never gets its turn.
    """
    connection = connections[database]
    with ExitStack() as stack:
        if connection.vendor == "sqlite" and not connection.in_atomic_block:
            _begin_eagerly(connection, stack)
        else:
            stack.enter_context(transaction.atomic(using=database))
        yield


def _begin_eagerly(connection: BaseDatabaseWrapper, stack: ExitStack) -> None:
    connection.ensure_connection()
    patience = float(connection.get_connection_params().get("timeout", SQLITE_TIMEOUT))
    deadline = time.monotonic() + patience
    _set_patience(connection, SHORT_PATIENCE)
    try:
        while True:
            try:
                stack.enter_context(transaction.atomic(using=connection.alias))
            except OperationalError as error:
                if not _is_locked_out(error) or time.monotonic() >= deadline:
                    raise
            else:
                return
    finally:
        _set_patience(connection, round(1000 * patience))


def _is_locked_out(error: OperationalError) -> bool:
    """Return True if SQLite has waited for a lock; before any other error it does not wait."""
    code: int = getattr(error.__cause__, "sqlite_errorcode", 0)
    return code & 0xFF == SQLITE_BUSY


def _set_patience(connection: BaseDatabaseWrapper, milliseconds: int) -> None:
    with connection.wrap_database_errors:
        connection.connection.execute(f"PRAGMA busy_timeout = {milliseconds:d}")


def break_connection(connection: BaseDatabaseWrapper) -> None:
    """Let the thread that waits for an answer on this connection get an error; from any thread.

    A server that hangs, or a network that swallows packets, would keep it waiting for hours. Only
    shutting the socket down ends that: timeouts of the server do not help when it hangs.
    """
    descriptor = _descriptor(connection.connection)
    if descriptor is None:
        return
    # Of a duplicate, so that closing this object leaves the driver's own descriptor alone. An error
    # means that it was closed at this moment.
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)


def _descriptor(raw: Any) -> int | None:
    """Return the file descriptor of a driver's connection; None if it has none."""
    if raw is None:
        return None
    pymysql_socket = getattr(raw, "_sock", None)  # PyMySQL has no public name for it
    fileno = getattr(raw, "fileno", None) or getattr(pymysql_socket, "fileno", None)
    try:
        return None if fileno is None else int(fileno())
    except Exception:  # each driver has its own error for a connection that is closed
        return None
