"""The history: the list of runs and the page of one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin import ShowFacets
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import DurationField, ExpressionWrapper, F, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import path
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from async_apscheduler.admin import actions, columns
from async_apscheduler.admin.filters import NodeFilter, OfJobFilter, ScheduledFilter
from async_apscheduler.admin.names import with_names
from async_apscheduler.admin.paginators import CappedPaginator
from async_apscheduler.admin.readonly import ReadOnlyAdmin
from async_apscheduler.masking import masked, masked_text
from async_apscheduler.models import DjangoJobExecution

LATENESS = ExpressionWrapper(F("started_at") - F("run_time"), output_field=DurationField())


@admin.register(DjangoJobExecution)
class DjangoJobExecutionAdmin(ReadOnlyAdmin):
    """Runs: when, where, how long, and what came of them."""

    list_display = ("scheduled", "job_link", "state", "late", "took", "node_link", "error")
    list_display_links = ("scheduled",)
    list_filter = (OfJobFilter, "status", ScheduledFilter, "reason", NodeFilter)
    list_deferred = ("traceback", "log", "return_value")
    search_fields = ("job__id", "exception")  # Django needs no join for the first
    search_help_text = gettext_lazy("Searches ids of jobs and exceptions.")
    ordering = ("-run_time",)
    show_facets = ShowFacets.NEVER  # each would count the whole table
    paginator = CappedPaginator
    actions = ("cancel", "delete_selected")
    change_list_template = "async_apscheduler/admin/capped_list.html"
    change_form_template = "async_apscheduler/admin/execution.html"
    shown_if = {
        "reason": "reason",
        "advance": "progress",
        "node_link": "node_id",
        "whole_error": "exception",
        "stack": "traceback",
        "not_before": "available_at",
        "started": "started_at",
        "finished": "finished_at",
        "late": "started_at",
        "took": "duration",
        "result": "return_value",
        "messages": "log",
        "requested_by": "requested_by",
        "cancelled_by": "cancelled_by",
        "cancel_requested": "cancel_requested_at",
    }
    fieldsets = (
        (
            None,
            {"fields": ("job_link", "state", "reason", "fires", "advance", "node_link", "attempt")},
        ),
        (gettext_lazy("Error"), {"fields": ("whole_error", "stack")}),
        (
            gettext_lazy("Times"),
            {"fields": ("scheduled", "not_before", "started", "finished", "late", "took")},
        ),
        (gettext_lazy("Result"), {"fields": ("result", "messages")}),
        (
            gettext_lazy("People"),
            {"fields": ("requested_by", "cancelled_by", "cancel_requested")},
        ),
        (
            gettext_lazy("Cost"),
            {"fields": ("db_queries", "database_time", "loop_blocked")},
        ),
    )
    readonly_fields = (
        "job_link",
        "state",
        "advance",
        "node_link",
        "whole_error",
        "stack",
        "scheduled",
        "not_before",
        "started",
        "finished",
        "late",
        "took",
        "result",
        "messages",
        "cancel_requested",
        "database_time",
        "loop_blocked",
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the runs with `job_name` and `node_name`."""
        return with_names(super().get_queryset(request))

    def has_cancel_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return True if the user may cancel runs."""
        return self.allows(request, "cancel")

    @admin.display(description=gettext_lazy("scheduled"), ordering="run_time")
    def scheduled(self, run: DjangoJobExecution) -> str:
        """Return when the run should start."""
        return columns.moment(run.run_time)

    @admin.display(description=gettext_lazy("job"), ordering="job_id")
    def job_link(self, run: Any) -> str:
        """Return the job, linked if it exists."""
        return columns.job_link(run.job_id, run.job_name)

    @admin.display(description=gettext_lazy("status"), ordering="status")
    def state(self, run: DjangoJobExecution) -> str:
        """Return the status; the reason is under the pointer."""
        return columns.run_badge(run.status, title=run.get_reason_display())

    @admin.display(description=gettext_lazy("lateness"), ordering=LATENESS)
    def late(self, run: DjangoJobExecution) -> str:
        """Return how long after its time the run started."""
        return columns.duration(run.lateness)

    @admin.display(description=gettext_lazy("duration"), ordering="duration")
    def took(self, run: DjangoJobExecution) -> str:
        """Return how long the run itself took."""
        return columns.duration(run.duration)

    @admin.display(description=gettext_lazy("node"), ordering="node_id")
    def node_link(self, run: Any) -> str:
        """Return the node that took the run, linked if its row exists."""
        return columns.node_link(run.node_id, run.node_name)

    @admin.display(description=gettext_lazy("exception"))
    def error(self, run: DjangoJobExecution) -> str:
        """Return the first line of the exception, or else why the run ended or was none."""
        return columns.outcome(run)

    @admin.display(description=gettext_lazy("exception"))
    def whole_error(self, run: DjangoJobExecution) -> str:
        """Return the exception."""
        return columns.block(masked_text(run.exception))

    @admin.display(description=gettext_lazy("traceback"))
    def stack(self, run: DjangoJobExecution) -> str:
        """Return the traceback."""
        return columns.block(masked_text(run.traceback))

    @admin.display(description=gettext_lazy("progress"))
    def advance(self, run: DjangoJobExecution) -> str:
        """Return how far the run says it has come."""
        progress = run.progress if isinstance(run.progress, dict) else {}
        done, total = progress.get("done"), progress.get("total")
        if not isinstance(done, (int, float)):
            return columns.EMPTY
        message = columns.visible(masked_text(str(progress.get("message") or "")))
        if not isinstance(total, (int, float)) or total <= 0:
            return columns.stacked(f"{done:g}", message)
        return columns.stacked(
            format_html(
                '<progress max="{}" value="{}"></progress> {} / {}',
                total,
                done,
                f"{done:g}",
                f"{total:g}",
            ),
            message,
        )

    @admin.display(description=gettext_lazy("not before"))
    def not_before(self, run: DjangoJobExecution) -> str:
        """Return until when a retry waits."""
        return columns.moment(run.available_at)

    @admin.display(description=gettext_lazy("started"))
    def started(self, run: DjangoJobExecution) -> str:
        """Return when the run started."""
        return columns.moment(run.started_at)

    @admin.display(description=gettext_lazy("finished"))
    def finished(self, run: DjangoJobExecution) -> str:
        """Return when the run ended."""
        return columns.moment(run.finished_at)

    @admin.display(description=gettext_lazy("return value"))
    def result(self, run: DjangoJobExecution) -> str:
        """Return what the function returned, without secrets."""
        if run.return_value is None:
            return columns.EMPTY
        return columns.json_block(masked(run.return_value))

    @admin.display(description=gettext_lazy("log"))
    def messages(self, run: DjangoJobExecution) -> str:
        """Return what the run has logged."""
        return columns.block(masked_text(run.log))

    @admin.display(description=gettext_lazy("cancel requested"))
    def cancel_requested(self, run: DjangoJobExecution) -> str:
        """Return when somebody asked to cancel."""
        return columns.moment(run.cancel_requested_at)

    @admin.display(description=gettext_lazy("database time"))
    def database_time(self, run: DjangoJobExecution) -> str:
        """Return how long the run waited for the database."""
        return columns.duration(run.db_seconds)

    @admin.display(description=gettext_lazy("loop blocked"))
    def loop_blocked(self, run: DjangoJobExecution) -> str:
        """Return how long the run kept the event loop from everybody else."""
        return columns.duration(run.loop_blocked_seconds)

    @admin.action(permissions=["cancel"], description=gettext_lazy("Cancel selected runs"))
    def cancel(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Ask the runs to stop."""
        actions.cancel(self, request, queryset)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Delete the rows, a batch for each transaction."""
        queryset.delete_in_batches()  # type: ignore[attr-defined]  # ExecutionQuerySet

    def get_urls(self) -> list[Any]:
        """Return the address of the button, and Django's own."""
        button = path(
            "<path:object_id>/cancel/",
            self.admin_site.admin_view(self.cancel_view),
            name="async_apscheduler_djangojobexecution_cancel",
        )
        return [button, *super().get_urls()]

    def cancel_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Cancel the run of the page."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_cancel_permission(request):
            raise PermissionDenied
        run = self.get_object(request, unquote(object_id))
        if run is None:
            return self.redirect_to_list(request, unquote(object_id))
        actions.cancel(self, request, [run])
        return HttpResponseRedirect(columns.page_address(DjangoJobExecution, run.pk))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Show the page of a run, with the button that cancels it."""
        run: DjangoJobExecution = context["original"]
        if not run.is_finished and self.has_cancel_permission(request, run):
            address = columns.page_address(DjangoJobExecution, run.pk, "cancel")
            context["buttons"] = [(address, _("Cancel"))]
        return super().render_change_form(request, context, *args, **kwargs)
