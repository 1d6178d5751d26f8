"""The audit trail: who changed which job."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.contrib.admin import ShowFacets
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.translation import gettext_lazy

from async_apscheduler.admin import columns
from async_apscheduler.admin.filters import OfJobFilter
from async_apscheduler.admin.names import name_of_job
from async_apscheduler.admin.paginators import CappedPaginator
from async_apscheduler.admin.readonly import ReadOnlyAdmin
from async_apscheduler.masking import masked
from async_apscheduler.models import JobChange

TONES: dict[str, str] = {
    JobChange.Action.ADDED: columns.GOOD,
    JobChange.Action.CHANGED: columns.BUSY,
    JobChange.Action.PAUSED: columns.ODD,
    JobChange.Action.RESUMED: columns.GOOD,
    JobChange.Action.REMOVED: columns.BAD,
}

VALUE_LENGTH = 60
"""Characters of an old or new value that the list shows."""


@admin.register(JobChange)
class JobChangeAdmin(ReadOnlyAdmin):
    """Changes of jobs, the newest first."""

    list_display = ("when", "job", "deed", "changed_by", "what")
    list_display_links = ("when",)
    list_filter = (OfJobFilter, "action")
    search_fields = ("job_id", "changed_by")
    search_help_text = gettext_lazy("Searches ids of jobs and users.")
    ordering = ("-pk",)
    show_facets = ShowFacets.NEVER  # each would count the whole table
    paginator = CappedPaginator
    actions = None
    change_list_template = "async_apscheduler/admin/capped_list.html"
    fieldsets = (
        (None, {"fields": ("job", "deed", "when", "changed_by")}),
        (gettext_lazy("Values"), {"fields": ("old", "new")}),
    )
    readonly_fields = ("job", "deed", "when", "old", "new")

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the changes with `job_name`, which is None if the job is gone."""
        return super().get_queryset(request).annotate(job_name=name_of_job())

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """An audit trail stays."""
        return False

    @admin.display(description=gettext_lazy("when"), ordering="pk")
    def when(self, change: JobChange) -> str:
        """Return when it was done."""
        return columns.moment(change.changed_at)

    @admin.display(description=gettext_lazy("job"), ordering="job_id")
    def job(self, change: Any) -> str:
        """Return the job, linked if it exists."""
        return columns.job_link(change.job_id, change.job_name)

    @admin.display(description=gettext_lazy("action"), ordering="action")
    def deed(self, change: JobChange) -> str:
        """Return what was done."""
        tone = TONES.get(change.action, columns.QUIET)
        return columns.badge(change.get_action_display(), tone)

    @admin.display(description=gettext_lazy("changes"))
    def what(self, change: JobChange) -> str:
        """Return each changed field, from what to what."""
        before, after = _fields(change.before), _fields(change.after)
        rows = [
            (name, _short(before.get(name)), _short(after.get(name)))
            for name in dict.fromkeys([*before, *after])
        ]
        return format_html_join("", "<div>{}: {} → {}</div>", rows) or columns.EMPTY

    @admin.display(description=gettext_lazy("before"))
    def old(self, change: JobChange) -> str:
        """Return the values before the change."""
        return columns.json_block(masked(change.before))

    @admin.display(description=gettext_lazy("after"))
    def new(self, change: JobChange) -> str:
        """Return the values after the change."""
        return columns.json_block(masked(change.after))


def _fields(side: Any) -> dict[str, Any]:
    """Return one side of a change without secrets; nothing of it if it is no dict."""
    fields: dict[str, Any] = masked(side) if isinstance(side, dict) else {}
    return fields


def _short(value: Any) -> str:
    if value is None:
        return columns.EMPTY
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return columns.visible(text if len(text) <= VALUE_LENGTH else f"{text[: VALUE_LENGTH - 1]}…")
