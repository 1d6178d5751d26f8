"""Tell the schedulers what has changed, inside the very transaction that changes it.

On PostgreSQL a notice reaches those that listen (see ``engine.wakeup``) when it is committed, and
never if it is rolled back. Other databases have nothing like it: there schedulers poll.
"""

from __future__ import annotations

from django.db import connections

CHANNEL = "async_apscheduler"
"""What schedulers LISTEN to."""


def work_for(environment: str) -> str:
    """Return the notice that jobs or runs of an environment may be due earlier than before."""
    return f"work {environment}"


def cancel_on(node_id: int) -> str:
    """Return the notice that somebody has asked to cancel a run of a node."""
    return f"cancel {node_id}"


def send_notice(database: str, notice: str) -> None:
    """Send a notice, in the caller's transaction if there is one.

    PostgreSQL sends equal notices of one transaction only once.
    """
    connection = connections[database]
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, notice])
