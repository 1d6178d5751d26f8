"""What people do to jobs and runs, from a list or from a page, with an answer for each.

The callers have checked the permission. Whatever is done is in the admin's log with the user, and
in the audit trail of the job.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from apscheduler.jobstores.base import JobLookupError
from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from async_apscheduler.admin.columns import visible
from async_apscheduler.exceptions import AsyncAPSchedulerError
from async_apscheduler.masking import masked_text
from async_apscheduler.models import DjangoJob, DjangoJobExecution

if TYPE_CHECKING:
    from async_apscheduler.admin.readonly import ReadOnlyAdmin

MAX_NAMES = 5
"""Names that one sentence lists."""


@dataclass(slots=True)
class Outcome:
    """The names of what was done, of what had no need, and the errors."""

    done: list[str] = field(default_factory=list)
    needless: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def pause(admin: ReadOnlyAdmin, request: HttpRequest, jobs: Iterable[DjangoJob]) -> None:
    """Pause those of the jobs that are not paused."""
    outcome = Outcome()
    for job in jobs:
        if job.status == DjangoJob.Status.PAUSED:
            outcome.needless.append(str(job))
        elif _attempted(job, job.pause, request, outcome):
            admin.log_change(request, job, _("Paused."))
    _tell_done(admin, request, outcome, _("Paused"))
    _tell_needless(admin, request, outcome, _("Paused before, and still"))


def resume(admin: ReadOnlyAdmin, request: HttpRequest, jobs: Iterable[DjangoJob]) -> None:
    """Resume those of the jobs that are paused or quarantined."""
    outcome = Outcome()
    for job in jobs:
        if job.status == DjangoJob.Status.SCHEDULED:
            outcome.needless.append(str(job))
        elif _attempted(job, job.resume, request, outcome):
            admin.log_change(request, job, _("Resumed."))
    _tell_done(admin, request, outcome, _("Resumed"))
    _tell_needless(admin, request, outcome, _("Not paused, so left as they are"))


def cancel(admin: ReadOnlyAdmin, request: HttpRequest, runs: Iterable[DjangoJobExecution]) -> None:
    """Cancel those of the runs that have not ended."""
    outcome = Outcome()
    for run in runs:
        if run.cancel(by=request.user.get_username()):
            outcome.done.append(f"#{run.pk}")
            admin.log_change(request, run, _("Cancel requested."))
        else:
            outcome.needless.append(f"#{run.pk}")
    _tell_done(admin, request, outcome, _("Asked to stop"))
    _tell_needless(admin, request, outcome, _("Had ended already"))


def names_of(names: list[str]) -> str:
    """Return the first of the names, and how many more there are."""
    listed = ", ".join(f"“{visible(name)}”" for name in names[:MAX_NAMES])
    more = len(names) - MAX_NAMES
    if more <= 0:
        return listed
    return ngettext("%(names)s and %(count)d more", "%(names)s and %(count)d more", more) % {
        "names": listed,
        "count": more,
    }


def _attempted(job: DjangoJob, change: Any, request: HttpRequest, outcome: Outcome) -> bool:
    try:
        change(by=request.user.get_username())
    except JobLookupError:
        outcome.errors.append(_("“%(job)s” has been removed meanwhile.") % {"job": job})
    except (AsyncAPSchedulerError, ValueError) as error:
        text = masked_text(str(error))
        outcome.errors.append(_("“%(job)s”: %(error)s") % {"job": job, "error": text})
    else:
        outcome.done.append(str(job))
        return True
    return False


def _tell_done(admin: Any, request: HttpRequest, outcome: Outcome, word: str) -> None:
    if outcome.done:
        text = f"{word}: {names_of(outcome.done)}."
        admin.message_user(request, text, messages.SUCCESS)
    for error in outcome.errors[:MAX_NAMES]:
        admin.message_user(request, error, messages.ERROR)
    more = len(outcome.errors) - MAX_NAMES
    if more > 0:
        text = ngettext("%(count)d more failed.", "%(count)d more failed.", more)
        admin.message_user(request, text % {"count": more}, messages.ERROR)


def _tell_needless(admin: Any, request: HttpRequest, outcome: Outcome, words: str) -> None:
    if outcome.needless:
        text = f"{words}: {names_of(outcome.needless)}."
        admin.message_user(request, text, messages.INFO)
