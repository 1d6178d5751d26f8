"""The list of scheduler processes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from async_apscheduler.admin import columns
from async_apscheduler.admin.readonly import ReadOnlyAdmin
from async_apscheduler.conf import get_settings
from async_apscheduler.models import DjangoJobExecution, SchedulerNode

TONES: dict[str, str] = {
    SchedulerNode.State.RUNNING: columns.GOOD,
    SchedulerNode.State.DRAINING: columns.ODD,
    SchedulerNode.State.STOPPED: columns.QUIET,
    SchedulerNode.State.LOST: columns.BAD,
}
LIVING = (SchedulerNode.State.RUNNING, SchedulerNode.State.DRAINING)


@admin.register(SchedulerNode)
class SchedulerNodeAdmin(ReadOnlyAdmin):
    """Nodes: which schedulers there are, and whether they live."""

    list_display = ("node", "condition", "sign_of_life", "load", "software", "environment")
    list_display_links = ("node",)
    list_filter = ("state",)
    search_fields = ("name",)
    ordering = ("-heartbeat_at",)
    actions = None
    fieldsets = (
        (None, {"fields": ("node", "condition", "environment", "software")}),
        (gettext_lazy("Life"), {"fields": ("started", "sign_of_life")}),
        (gettext_lazy("Load"), {"fields": ("load", "lag", "runs")}),
    )
    readonly_fields = (
        "node",
        "condition",
        "software",
        "started",
        "sign_of_life",
        "load",
        "lag",
        "runs",
    )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nodes are part of the history."""
        return False

    @admin.display(description=gettext_lazy("node"), ordering="name")
    def node(self, node: SchedulerNode) -> str:
        """Return the name and the number."""
        return columns.stacked(node.name, f"#{node.pk}")

    @admin.display(description=gettext_lazy("state"), ordering="state")
    def condition(self, node: SchedulerNode) -> str:
        """Return the state; one that should live but is silent is told as such."""
        timeout = get_settings().node_timeout
        if node.state in LIVING and node.is_silent(datetime.now(UTC), timeout):
            hint = _(
                "No sign of life for more than %(time)s (NODE_TIMEOUT). Another scheduler, or the "
                "restarted one, declares it lost and deals with its runs."
            )
            hint %= {"time": columns.duration(timeout)}
            return columns.badge(_("silent"), columns.BAD, title=hint)
        if node.state == SchedulerNode.State.RUNNING and not node.capacity:
            return columns.badge(_("paused"), columns.ODD, title=_("It was started with --paused."))
        return columns.badge(node.get_state_display(), TONES.get(node.state, columns.QUIET))

    @admin.display(description=gettext_lazy("last sign of life"), ordering="heartbeat_at")
    def sign_of_life(self, node: SchedulerNode) -> str:
        """Return when the node was last heard of."""
        # The database's clock may be ahead of this one; a sign of life is never in the future.
        far = columns.how_far(node.heartbeat_at, max(datetime.now(UTC), node.heartbeat_at))
        return columns.stacked(columns.moment(node.heartbeat_at), far)

    @admin.display(description=gettext_lazy("running / capacity"), ordering="running")
    def load(self, node: SchedulerNode) -> str:
        """Return how many runs the node has, and how many it takes."""
        return f"{node.running} / {node.capacity}"

    @admin.display(description=gettext_lazy("versions"))
    def software(self, node: SchedulerNode) -> str:
        """Return the versions of what it is made of."""
        versions = node.versions if isinstance(node.versions, dict) else {}
        return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))

    @admin.display(description=gettext_lazy("started"))
    def started(self, node: SchedulerNode) -> str:
        """Return when the process began."""
        return columns.moment(node.started_at)

    @admin.display(description=gettext_lazy("loop lag"))
    def lag(self, node: SchedulerNode) -> str:
        """Return how late the event loop of the process was at its last heartbeat."""
        return columns.duration(node.loop_lag)

    @admin.display(description=gettext_lazy("history"))
    def runs(self, node: SchedulerNode) -> str:
        """Return a link to the runs of this node."""
        return columns.link(columns.list_address(DjangoJobExecution, node=node.pk), _("Its runs"))
