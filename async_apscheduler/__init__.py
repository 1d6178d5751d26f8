"""An async-native scheduler for Django, built on APScheduler.

Declare jobs with ``@scheduled_job`` and ``@job`` in an app's ``jobs.py``; inside a job,
``current_run`` tells which run it is. Importing this package needs no configured Django.
"""

from __future__ import annotations

from async_apscheduler.context import current_run
from async_apscheduler.registry import job, scheduled_job

__all__ = ["current_run", "job", "scheduled_job"]

__version__ = "0.1.0"
