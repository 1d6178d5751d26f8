"""The rows, and everything that a web process needs: schedule, steer and read jobs."""

from async_apscheduler.models.changes import JobChange
from async_apscheduler.models.executions import DjangoJobExecution
from async_apscheduler.models.jobs import DjangoJob
from async_apscheduler.models.nodes import SchedulerNode
from async_apscheduler.models.statuses import Reason, Status

__all__ = [
    "DjangoJob",
    "DjangoJobExecution",
    "JobChange",
    "Reason",
    "SchedulerNode",
    "Status",
]
