"""Run jobs now: leave pending runs for a scheduler, and tell what became of them.

The request never runs a job itself. It waits for the results only where they can come: a scheduler
is alive, and the pending runs are committed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from apscheduler.jobstores.base import JobLookupError
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from async_apscheduler.admin.actions import names_of
from async_apscheduler.admin.columns import duration, one_line
from async_apscheduler.admin.waiting import environments_with_a_scheduler, wait_for_ends
from async_apscheduler.admin_settings import run_now_timeout
from async_apscheduler.masking import masked_text
from async_apscheduler.models import DjangoJob, DjangoJobExecution, Status

if TYPE_CHECKING:
    from async_apscheduler.admin.readonly import ReadOnlyAdmin

MAX_MESSAGES = 10
"""Runs that get a message each; more are told in one message for each kind of end."""

LEVELS = {
    Status.SUCCEEDED: messages.SUCCESS,
    Status.FAILED: messages.ERROR,
    Status.TIMED_OUT: messages.ERROR,
    Status.LOST: messages.ERROR,
}
"""How a message about an end looks; others are warnings."""


def run_now(admin: ReadOnlyAdmin, request: HttpRequest, jobs: Iterable[DjangoJob]) -> None:
    """Ask for a run of each job and tell the user how it went.

    Raises ConfigurationError, before anything is asked for.
    """
    RunNow(admin, request, timeout=run_now_timeout()).of(jobs)


class RunNow:
    """One request of one user."""

    def __init__(self, admin: ReadOnlyAdmin, request: HttpRequest, *, timeout: float) -> None:
        self._admin = admin
        self._request = request
        self._timeout = timeout
        self._names: dict[int, str] = {}

    def of(self, jobs: Iterable[DjangoJob]) -> None:
        """Run these jobs."""
        environments: dict[int, str] = {}
        for job in jobs:
            run = self._queued(job)
            if run is not None:
                environments[run.pk] = job.environment
        if not environments:
            return
        database = DjangoJobExecution.objects.db
        alive = environments_with_a_scheduler(database)
        for environment in sorted(set(environments.values()) - alive):
            keys = [key for key, other in environments.items() if other == environment]
            self._tell_no_scheduler(keys, environment)
        keys = [key for key, environment in environments.items() if environment in alive]
        if not keys:
            return
        if transaction.get_connection(database).in_atomic_block:
            self._tell_queued(keys, _("They start when the transaction of this request ends."))
        elif not self._timeout:
            self._tell_queued(keys, _("Their results appear in the history."))
        else:
            self._tell_results(keys, wait_for_ends(keys, database, self._timeout))

    def _queued(self, job: DjangoJob) -> DjangoJobExecution | None:
        try:
            run = job.run(by=self._request.user.get_username())
        except JobLookupError:
            text = _("“%(job)s” has been removed meanwhile.") % {"job": job}
            self._tell(messages.ERROR, text)
            return None
        self._names[run.pk] = str(job)
        self._admin.log_change(self._request, job, _("Run %(run)s requested.") % {"run": run.pk})
        return run

    def _tell_no_scheduler(self, keys: list[int], environment: str) -> None:
        if environment:
            text = _(
                "Queued: %(jobs)s. No scheduler of the environment “%(environment)s” is running; "
                "start one there with: manage.py runasyncscheduler"
            )
        else:
            text = _(
                "Queued: %(jobs)s. No scheduler is running; start one with: "
                "manage.py runasyncscheduler"
            )
        self._tell(messages.WARNING, text % {"jobs": self._named(keys), "environment": environment})

    def _tell_queued(self, keys: list[int], what_next: str) -> None:
        text = _("Queued: %(jobs)s. %(what_next)s")
        self._tell(messages.INFO, text % {"jobs": self._named(keys), "what_next": what_next})

    def _tell_results(self, keys: list[int], ended: dict[int, DjangoJobExecution]) -> None:
        waiting = [key for key in keys if key not in ended]
        if len(ended) <= MAX_MESSAGES:
            for key, run in ended.items():
                level = LEVELS.get(Status(run.status), messages.WARNING)
                self._tell(level, self._sentence(key, run))
        else:
            self._tell_by_status(ended)
        if waiting:
            text = ngettext(
                "Not finished after %(time)s: %(jobs)s. It goes on; the history shows its result.",
                "Not finished after %(time)s: %(jobs)s. They go on; the history shows the results.",
                len(waiting),
            )
            time = duration(self._timeout)
            self._tell(messages.WARNING, text % {"time": time, "jobs": self._named(waiting)})

    def _tell_by_status(self, ended: dict[int, DjangoJobExecution]) -> None:
        for status in Status:
            keys = [key for key, run in ended.items() if run.status == status]
            if keys:
                text = _("%(status)s: %(count)d (%(jobs)s)") % {
                    "status": status.label,
                    "count": len(keys),
                    "jobs": self._named(keys),
                }
                self._tell(LEVELS.get(status, messages.WARNING), text)

    def _sentence(self, key: int, run: DjangoJobExecution) -> str:
        values = {
            "job": self._names[key],
            "time": duration(run.duration),
            "status": run.get_status_display(),
            "why": one_line(masked_text(run.exception)) or run.get_reason_display(),
        }
        if run.status == Status.SUCCEEDED:
            return _("“%(job)s” succeeded in %(time)s.") % values
        if values["why"]:
            return _("“%(job)s” %(status)s: %(why)s") % values
        return _("“%(job)s” %(status)s.") % values

    def _named(self, keys: list[int]) -> str:
        return names_of([self._names[key] for key in keys])

    def _tell(self, level: int, text: str) -> None:
        self._admin.message_user(self._request, text, level)
