"""The one door between the event loop and the database.

Django forbids database calls on the loop. A *lane* is one thread with its own Django connections;
everything asynchronous in this package reaches the database through a lane, so there is one place
to look when a connection is stale, and one place that bounds how many connections there are.
"""

from async_apscheduler._database._connections import (
    CONNECTION_ERRORS,
    QueryWrapper,
    database_now,
    discard_connection,
    eager_transaction,
    is_deadlock,
    retrying_once,
)
from async_apscheduler._database._lanes import ANSWER_LIMIT, Lane, closed_lanes_have_ended
from async_apscheduler._database._loop import in_database_thread, on_event_loop
from async_apscheduler._database._pool import LanePool, RunLane
from async_apscheduler._database._statements import (
    Statement,
    all_rows,
    nothing,
    rows_found,
    send,
    send_together,
)
from async_apscheduler._database._threads import JobThreads

__all__ = [
    "ANSWER_LIMIT",
    "CONNECTION_ERRORS",
    "JobThreads",
    "Lane",
    "LanePool",
    "QueryWrapper",
    "RunLane",
    "Statement",
    "all_rows",
    "closed_lanes_have_ended",
    "database_now",
    "discard_connection",
    "eager_transaction",
    "in_database_thread",
    "is_deadlock",
    "nothing",
    "on_event_loop",
    "retrying_once",
    "rows_found",
    "send",
    "send_together",
]
