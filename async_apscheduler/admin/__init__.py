"""Watch and steer jobs in Django's admin.

Everything here reads and writes rows. A scheduler process does the work: "run now" leaves a
pending run and looks what becomes of it.
"""

from __future__ import annotations

from async_apscheduler.admin.changes import JobChangeAdmin
from async_apscheduler.admin.executions import DjangoJobExecutionAdmin
from async_apscheduler.admin.jobs import DjangoJobAdmin
from async_apscheduler.admin.nodes import SchedulerNodeAdmin

__all__ = [
    "DjangoJobAdmin",
    "DjangoJobExecutionAdmin",
    "JobChangeAdmin",
    "SchedulerNodeAdmin",
]
