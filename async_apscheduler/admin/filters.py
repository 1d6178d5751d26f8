"""The filters beside the lists."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from async_apscheduler.models import SchedulerNode, Status

MAX_NODES = 20
"""Nodes that the filter offers, the newest; each start of a scheduler makes one."""


class LastStatusFilter(SimpleListFilter):
    """Jobs by how their latest run stands; needs the annotation `last_status`."""

    title = _("last status")
    parameter_name = "last_status"

    NEVER = "never"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        """Return the choices."""
        return [*Status.choices, (self.NEVER, _("has not run"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the jobs that fit."""
        value = self.value()
        if value is None:
            return queryset
        if value == self.NEVER:
            return queryset.filter(last_status__isnull=True)
        return queryset.filter(last_status=value)


class ScheduledFilter(SimpleListFilter):
    """Runs by their scheduled time, in the current time zone."""

    title = _("scheduled")
    parameter_name = "scheduled"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        """Return the choices."""
        return [
            ("hour", _("past hour")),
            ("today", _("today")),
            ("week", _("past 7 days")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the runs that fit."""
        now = timezone.localtime(datetime.now(UTC))
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        earliest = {
            "hour": now - timedelta(hours=1),
            "today": midnight,
            "week": now - timedelta(days=7),
        }.get(self.value() or "")
        return queryset if earliest is None else queryset.filter(run_time__gte=earliest)


class NodeFilter(SimpleListFilter):
    """Runs by the scheduler that took them."""

    title = _("node")
    parameter_name = "node"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        """Return the newest nodes, and the one that an address asks for."""
        newest = SchedulerNode.objects.order_by("-pk")[:MAX_NODES]
        nodes = [(str(node.pk), str(node)) for node in newest]
        asked = self.used_parameters.get(self.parameter_name)
        if asked and asked not in dict(nodes):
            nodes.append((asked, f"#{asked}"))
        return nodes

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the runs that fit."""
        value = self.value()
        if value is None:
            return queryset
        if not value.isdecimal() or len(value) > 18:
            raise IncorrectLookupParameters(f"{value!r} is not the key of a node")
        return queryset.filter(node_id=int(value))


class OfJobFilter(SimpleListFilter):
    """Rows of one job, as links ask for it; there are too many jobs to offer them."""

    title = _("job")
    parameter_name = "job"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        """Return the one job that the address names."""
        asked = self.used_parameters.get(self.parameter_name)
        return [] if asked is None else [(asked, asked)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows that fit."""
        value = self.value()
        return queryset if value is None else queryset.filter(job_id=value)
