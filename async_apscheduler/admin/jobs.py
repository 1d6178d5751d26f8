"""The list of jobs and the page of one, with the buttons that steer it."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.jobstores.base import JobLookupError
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Avg, F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import path
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from async_apscheduler.admin import actions, columns
from async_apscheduler.admin.filters import LastStatusFilter
from async_apscheduler.admin.job_page import page_context
from async_apscheduler.admin.readonly import LightChangeList, ReadOnlyAdmin
from async_apscheduler.admin.run_now import run_now
from async_apscheduler.masking import masked, masked_arguments, masked_text
from async_apscheduler.models import DjangoJob, DjangoJobExecution, Status

TONES: dict[str, str] = {
    DjangoJob.Status.SCHEDULED: columns.GOOD,
    DjangoJob.Status.PAUSED: columns.ODD,
    DjangoJob.Status.QUARANTINED: columns.BAD,
}

MEAN_OVER = timedelta(hours=24)
"""How far back the mean duration looks."""

STEPS = {
    "run": (run_now, "run"),
    "pause": (actions.pause, "pause"),
    "resume": (actions.resume, "pause"),
}
"""By the last part of a button's address: what it does, and the permission that it needs."""


class JobChangeList(LightChangeList):
    """A list that looks for the runs of those jobs only that are on its page.

    SQLite would look for those of all jobs that are due at one time, before it sorts them: with
    10,000 jobs and 1,000,000 runs a page took 337 ms instead of 46.
    """

    def get_results(self, request: HttpRequest) -> None:
        """Find out which jobs are on the page, then what to show of them."""
        super().get_results(request)
        keys = list(self.result_list.values_list("pk", flat=True))
        jobs = self.queryset.in_bulk(keys)
        # A job may be removed between the two queries.
        self.result_list = [jobs[key] for key in keys if key in jobs]


@admin.register(DjangoJob)
class DjangoJobAdmin(ReadOnlyAdmin):
    """Jobs: what runs when, and how it went."""

    list_display = (
        "job",
        "function",
        "trigger_in_words",
        "next_run",
        "state",
        "last_run",
        "mean_duration",
    )
    list_display_links = ("job",)
    list_filter = ("status", LastStatusFilter, "source", "executor")
    list_deferred = ("args", "kwargs", "declaration")
    search_fields = ("id", "name", "func")
    search_help_text = gettext_lazy("Searches ids, names and functions.")
    actions = ("run_now", "pause", "resume", "delete_selected")
    change_form_template = "async_apscheduler/admin/job.html"
    delete_confirmation_template = "async_apscheduler/admin/job_delete.html"
    delete_selected_confirmation_template = "async_apscheduler/admin/jobs_delete.html"
    shown_if = {"held_run": "held_run_time", "environment": "environment"}
    fieldsets = (
        (None, {"fields": ("id", "name", "func", "state", "origin", "environment")}),
        (
            gettext_lazy("When"),
            {"fields": ("trigger_in_words", "next_run", "held_run", "trigger_as_json")},
        ),
        (gettext_lazy("Arguments"), {"fields": ("arguments",)}),
        (
            gettext_lazy("Rules"),
            {"fields": ("executor", "max_instances", "coalesce", "misfire_grace_time")},
        ),
        (
            gettext_lazy("When a run fails"),
            {"fields": ("timeout", "max_attempts", "retry_delay", "retry_on_lost")},
        ),
    )
    readonly_fields = (
        "state",
        "origin",
        "trigger_in_words",
        "next_run",
        "held_run",
        "trigger_as_json",
        "arguments",
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the jobs with `last_status` and `mean_seconds`.

        The mean is that of the successes in MEAN_OVER; if there were none, of the last one before.
        """
        runs = DjangoJobExecution.objects.filter(job_id=OuterRef("pk")).order_by("-run_time")
        successes = runs.filter(status=Status.SUCCEEDED)
        recent = successes.filter(run_time__gte=datetime.now(UTC) - MEAN_OVER).order_by()
        mean = recent.values("job_id").annotate(mean=Avg("duration")).values("mean")
        jobs = super().get_queryset(request)
        return jobs.annotate(
            last_status=Subquery(runs.values("status")[:1]),
            mean_seconds=Coalesce(Subquery(mean), Subquery(successes.values("duration")[:1])),
        )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[JobChangeList]:
        """Return the class of the list."""
        return JobChangeList

    def has_run_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return True if the user may run jobs now."""
        return self.allows(request, "run")

    def has_pause_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return True if the user may pause and resume jobs."""
        return self.allows(request, "pause")

    @admin.display(description=gettext_lazy("job"), ordering="name")
    def job(self, job: DjangoJob) -> str:
        """Return the name and the id."""
        return columns.job_name(job.pk, job.name)

    @admin.display(description=gettext_lazy("function"), ordering="func")
    def function(self, job: DjangoJob) -> str:
        """Return the name of the function with its module below."""
        module, _colon, name = job.func.partition(":")
        name, module = columns.dotted(name or job.func), columns.dotted(module)
        return columns.words(columns.stacked(name, module))

    @admin.display(description=gettext_lazy("trigger"))
    def trigger_in_words(self, job: DjangoJob) -> str:
        """Return the trigger in words."""
        return columns.words(job.describe_trigger())

    @admin.display(
        description=gettext_lazy("next run"), ordering=F("next_run_time").asc(nulls_last=True)
    )
    def next_run(self, job: DjangoJob) -> str:
        """Return the time of the next run and how far away it is."""
        if job.next_run_time is None:
            return columns.EMPTY
        far = columns.how_far(job.next_run_time, datetime.now(UTC))
        return columns.words(columns.stacked(far, columns.moment(job.next_run_time)))

    @admin.display(description=gettext_lazy("status"), ordering="status")
    def state(self, job: DjangoJob) -> str:
        """Return the status; a quarantined job tells why under the pointer."""
        tone = TONES.get(job.status, columns.QUIET)
        return columns.badge(job.get_status_display(), tone, title=masked_text(job.error))

    @admin.display(description=gettext_lazy("last run"), ordering="last_status")
    def last_run(self, job: Any) -> str:
        """Return the status of the latest run, linked to all runs of the job."""
        if job.last_status is None:
            return columns.EMPTY
        history = columns.list_address(DjangoJobExecution, job=job.pk)
        return columns.link(history, columns.run_badge(job.last_status))

    @admin.display(description=gettext_lazy("mean (24 h)"), ordering="mean_seconds")
    def mean_duration(self, job: Any) -> str:
        """Return the mean duration of the succeeded runs of a day."""
        return columns.duration(job.mean_seconds)

    @admin.display(description=gettext_lazy("source"))
    def origin(self, job: DjangoJob) -> str:
        """Return where the job comes from."""
        if job.source != DjangoJob.Source.DECLARED:
            return str(job.get_source_display())
        hint = _(
            "Declared with @scheduled_job. If it is removed here, it returns when a scheduler "
            "starts next; remove it from the code, or pause it."
        )
        return columns.stacked(job.get_source_display(), hint)

    @admin.display(description=gettext_lazy("after the quarantine"))
    def held_run(self, job: DjangoJob) -> str:
        """Return when a quarantined job would run if it could be restored now."""
        return columns.moment(job.held_run_time)

    @admin.display(description=gettext_lazy("as stored"))
    def trigger_as_json(self, job: DjangoJob) -> str:
        """Return the trigger as JSON."""
        return columns.json_block(masked(job.trigger))

    @admin.display(description=gettext_lazy("arguments"))
    def arguments(self, job: DjangoJob) -> str:
        """Return each argument by its name, without secrets."""
        pairs = masked_arguments(job.func, job.args, job.kwargs)
        if not pairs:
            return _("none")
        rows = format_html_join(
            "",
            "<dt>{}</dt><dd>{}</dd>",
            ((name, columns.json_block(value)) for name, value in pairs),
        )
        return format_html('<dl class="apscheduler-arguments">{}</dl>', rows)

    @admin.action(permissions=["run"], description=gettext_lazy("Run selected jobs now"))
    def run_now(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Run the jobs in a scheduler process and tell how it went."""
        run_now(self, request, queryset)

    @admin.action(permissions=["pause"], description=gettext_lazy("Pause selected jobs"))
    def pause(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Let the jobs not fire until they are resumed."""
        actions.pause(self, request, queryset)

    @admin.action(permissions=["pause"], description=gettext_lazy("Resume selected jobs"))
    def resume(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Let the jobs fire again."""
        actions.resume(self, request, queryset)

    def delete_model(self, request: HttpRequest, obj: DjangoJob) -> None:
        """Remove a job, with a line in its audit trail."""
        with suppress(JobLookupError):  # somebody else was faster, and it is gone as asked
            obj.remove(by=request.user.get_username())

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Remove the jobs, all or none."""
        with transaction.atomic(using=queryset.db):
            for job in queryset:
                self.delete_model(request, job)

    def get_urls(self) -> list[Any]:
        """Return the addresses of the buttons, and Django's own."""
        buttons = [
            path(
                f"<path:object_id>/{step}/",
                self.admin_site.admin_view(self.step_view),
                {"step": step},
                name=f"async_apscheduler_djangojob_{step}",
            )
            for step in STEPS
        ]
        return [*buttons, *super().get_urls()]

    def step_view(self, request: HttpRequest, object_id: str, step: str) -> HttpResponse:
        """Do what a button of the page says; the permission is that of the action."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        act, permission = STEPS[step]
        if not self.allows(request, permission):
            raise PermissionDenied
        job = self.get_object(request, unquote(object_id))
        if job is None:
            return self.redirect_to_list(request, unquote(object_id))
        act(self, request, [job])
        return HttpResponseRedirect(columns.page_address(DjangoJob, job.pk))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Show the page of a job, with its buttons and its latest runs."""
        context.update(page_context(self, request, context["original"]))
        return super().render_change_form(request, context, *args, **kwargs)
