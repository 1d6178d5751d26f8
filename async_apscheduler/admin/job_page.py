"""What the page of a job shows beside its fields: buttons, latest runs, links to the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from async_apscheduler.admin import columns
from async_apscheduler.admin.names import with_names
from async_apscheduler.masking import masked_text
from async_apscheduler.models import DjangoJob, DjangoJobExecution, JobChange

if TYPE_CHECKING:
    from async_apscheduler.admin.jobs import DjangoJobAdmin

LATEST_RUNS = 20
"""Runs that the page lists."""


def page_context(admin: DjangoJobAdmin, request: HttpRequest, job: DjangoJob) -> dict[str, Any]:
    """Return what the template of the page needs."""
    return {
        "buttons": _buttons(admin, request, job),
        "removal": columns.page_address(DjangoJob, job.pk, "delete")
        if admin.has_delete_permission(request, job)
        else "",
        "show_delete": False,
        "changes": columns.list_address(JobChange, job=job.pk),
        "quarantine": masked_text(job.error) if job.status == DjangoJob.Status.QUARANTINED else "",
        "runs": [_cells(run) for run in _latest(job)],
        "history": columns.list_address(DjangoJobExecution, job=job.pk),
    }


def _buttons(admin: DjangoJobAdmin, request: HttpRequest, job: DjangoJob) -> list[tuple[str, str]]:
    """Return the address and the label of each button that this user may press."""
    steps = []
    if admin.has_run_permission(request, job):
        steps.append(("run", _("Run now")))
    if admin.has_pause_permission(request, job):
        if job.status != DjangoJob.Status.PAUSED:
            steps.append(("pause", _("Pause")))
        if job.status != DjangoJob.Status.SCHEDULED:
            steps.append(("resume", _("Resume")))
    return [(columns.page_address(DjangoJob, job.pk, step), label) for step, label in steps]


def _latest(job: DjangoJob) -> Any:
    runs = DjangoJobExecution.objects.filter(job_id=job.pk).order_by("-run_time")
    return with_names(runs).defer("traceback", "log", "return_value")[:LATEST_RUNS]


def _cells(run: Any) -> list[str]:
    return [
        columns.link(
            columns.page_address(DjangoJobExecution, run.pk), columns.moment(run.run_time)
        ),
        columns.run_badge(run.status, title=run.get_reason_display()),
        columns.duration(run.lateness),
        columns.duration(run.duration),
        columns.node_link(run.node_id, run.node_name),
        columns.outcome(run),
    ]
