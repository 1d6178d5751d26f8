"""APScheduler's methods that touch the database: refused on the loop, each with an async twin.

The synchronous method is the truth; its twin calls it in a database thread. Before the scheduler
is started add_job() and the like only fill a list and may be called anywhere.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apscheduler.job import Job
from apscheduler.schedulers.base import STATE_STOPPED, BaseScheduler

from async_apscheduler._database import in_database_thread, on_event_loop
from async_apscheduler.exceptions import SynchronousCallError
from async_apscheduler.jobstores import DjangoJobStore
from async_apscheduler.models.loading import resolve_function
from async_apscheduler.references import check_allowed
from async_apscheduler.registry import registry

JOB_OPTIONS = ("name", "executor", "coalesce", "max_instances", "misfire_grace_time")
"""Options of @job that add_job() takes."""


class GuardedMethods(BaseScheduler):  # type: ignore[misc]  # APScheduler is untyped
    """Mixin of DjangoScheduler."""

    def add_job(self, func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Job:
        """See APScheduler. Options of ``@job`` apply where none are given.

        Raises InvalidJobError for what cannot be stored, before anything is imported.
        """
        self._refuse_on_loop("add_job", kwargs.get("jobstore", "default"))
        func = resolve_function(func)
        if not args[1:]:
            declared = registry.options_of(func)
            kwargs = {key: declared[key] for key in JOB_OPTIONS if key in declared} | kwargs
        return super().add_job(func, *args, **kwargs)

    async def aadd_job(self, func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Job:
        """See add_job()."""
        return await in_database_thread(self.add_job, func, *args, **kwargs)

    def modify_job(self, job_id: str, jobstore: str | None = None, **changes: Any) -> Job:
        """See APScheduler. Raises InvalidJobError, before anything is imported."""
        self._refuse_on_loop("modify_job", jobstore)
        if "func" in changes:
            changes["func"] = resolve_function(changes["func"])
        return super().modify_job(job_id, jobstore, **changes)

    async def amodify_job(self, job_id: str, jobstore: str | None = None, **changes: Any) -> Job:
        """See modify_job()."""
        return await in_database_thread(self.modify_job, job_id, jobstore, **changes)

    def reschedule_job(
        self, job_id: str, jobstore: str | None = None, trigger: Any = None, **trigger_args: Any
    ) -> Job:
        """See APScheduler."""
        self._refuse_on_loop("reschedule_job", jobstore)
        return super().reschedule_job(job_id, jobstore, trigger, **trigger_args)

    async def areschedule_job(
        self, job_id: str, jobstore: str | None = None, trigger: Any = None, **trigger_args: Any
    ) -> Job:
        """See reschedule_job()."""
        return await in_database_thread(
            self.reschedule_job, job_id, jobstore, trigger, **trigger_args
        )

    def pause_job(self, job_id: str, jobstore: str | None = None) -> Job:
        """See APScheduler."""
        self._refuse_on_loop("pause_job", jobstore)
        return super().pause_job(job_id, jobstore)

    async def apause_job(self, job_id: str, jobstore: str | None = None) -> Job:
        """See pause_job()."""
        return await in_database_thread(self.pause_job, job_id, jobstore)

    def resume_job(self, job_id: str, jobstore: str | None = None) -> Job | None:
        """See APScheduler."""
        self._refuse_on_loop("resume_job", jobstore)
        return super().resume_job(job_id, jobstore)

    async def aresume_job(self, job_id: str, jobstore: str | None = None) -> Job | None:
        """See resume_job()."""
        return await in_database_thread(self.resume_job, job_id, jobstore)

    def remove_job(self, job_id: str, jobstore: str | None = None) -> None:
        """See APScheduler."""
        self._refuse_on_loop("remove_job", jobstore)
        super().remove_job(job_id, jobstore)

    async def aremove_job(self, job_id: str, jobstore: str | None = None) -> None:
        """See remove_job()."""
        await in_database_thread(self.remove_job, job_id, jobstore)

    def remove_all_jobs(self, jobstore: str | None = None) -> None:
        """See APScheduler."""
        self._refuse_on_loop("remove_all_jobs", jobstore)
        super().remove_all_jobs(jobstore)

    async def aremove_all_jobs(self, jobstore: str | None = None) -> None:
        """See remove_all_jobs()."""
        await in_database_thread(self.remove_all_jobs, jobstore)

    def get_job(self, job_id: str, jobstore: str | None = None) -> Job | None:
        """See APScheduler."""
        self._refuse_on_loop("get_job", jobstore)
        return super().get_job(job_id, jobstore)

    async def aget_job(self, job_id: str, jobstore: str | None = None) -> Job | None:
        """See get_job()."""
        return await in_database_thread(self.get_job, job_id, jobstore)

    def get_jobs(self, jobstore: str | None = None, pending: bool | None = None) -> list[Job]:
        """See APScheduler."""
        self._refuse_on_loop("get_jobs", jobstore)
        jobs: list[Job] = super().get_jobs(jobstore, pending)
        return jobs

    async def aget_jobs(self, jobstore: str | None = None) -> list[Job]:
        """See get_jobs()."""
        return await in_database_thread(self.get_jobs, jobstore)

    def print_jobs(self, jobstore: str | None = None, out: Any = None) -> None:
        """See APScheduler."""
        self._refuse_on_loop("print_jobs", jobstore)
        super().print_jobs(jobstore, out)

    async def aprint_jobs(self, jobstore: str | None = None, out: Any = None) -> None:
        """See print_jobs()."""
        await in_database_thread(self.print_jobs, jobstore, out)

    def export_jobs(self, outfile: Any, jobstore: str | None = None) -> None:
        """See APScheduler."""
        self._refuse_on_loop("export_jobs", jobstore)
        super().export_jobs(outfile, jobstore)

    async def aexport_jobs(self, outfile: Any, jobstore: str | None = None) -> None:
        """See export_jobs()."""
        await in_database_thread(self.export_jobs, outfile, jobstore)

    def import_jobs(self, infile: Any, jobstore: str = "default") -> None:
        """See APScheduler: it unpickles what the file holds, so import only files of your own.

        Raises InvalidJobError for functions that are not allowed, before anything is imported.
        """
        self._refuse_on_loop("import_jobs", jobstore)
        text = infile.read() if hasattr(infile, "read") else Path(infile).read_text()
        for job in json.loads(text).get("jobs", ()):
            check_allowed(job["func"])
        super().import_jobs(io.StringIO(text), jobstore)

    async def aimport_jobs(self, infile: Any, jobstore: str = "default") -> None:
        """See import_jobs()."""
        await in_database_thread(self.import_jobs, infile, jobstore)

    def _refuse_on_loop(self, method: str, jobstore: str | None) -> None:
        """Raise SynchronousCallError if `method` would wait for the database on a running loop."""
        if self.state == STATE_STOPPED or not on_event_loop():
            return
        stores = self._jobstores.values() if jobstore is None else [self._jobstores.get(jobstore)]
        if any(isinstance(store, DjangoJobStore) for store in stores):
            raise SynchronousCallError(method, f"a{method}")
