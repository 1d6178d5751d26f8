"""SchedulerNode: a row for each scheduler process."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from async_apscheduler.models.fields import MomentField
from async_apscheduler.models.managers import (
    ConfiguredManager,
    ConfiguredModel,
    ConfiguredQuerySet,
)


class NodeQuerySet(ConfiguredQuerySet):
    """Words for sets of nodes."""

    def alive(self) -> NodeQuerySet:
        """Nodes that may still run jobs."""
        return self.filter(state__in=[SchedulerNode.State.RUNNING, SchedulerNode.State.DRAINING])

    def running(self) -> NodeQuerySet:
        """Nodes that take runs."""
        return self.filter(state=SchedulerNode.State.RUNNING, capacity__gt=0)

    def others(self, environment: str, node: Any) -> NodeQuerySet:
        """Nodes of an environment without one of them, which is told by its key."""
        return self.filter(environment=environment).exclude(pk=node)

    def silent_since(self, moment: Any) -> NodeQuerySet:
        """Nodes that should live but gave no sign of it after `moment`."""
        return self.alive().filter(heartbeat_at__lt=moment)


class SchedulerNode(ConfiguredModel):
    """A scheduler process: who it is, since when, and when it last gave a sign of life."""

    class State(models.TextChoices):
        """Where a node is in its life."""

        RUNNING = "running", _("running")
        DRAINING = "draining", _("draining")
        STOPPED = "stopped", _("stopped")
        LOST = "lost", _("lost")

    name = models.CharField(_("name"), max_length=255)
    environment = models.CharField(_("environment"), max_length=100, blank=True, default="")
    started_at = MomentField(_("started"))
    heartbeat_at = MomentField(_("last sign of life"))
    state = models.CharField(
        _("state"), max_length=10, choices=State.choices, default=State.RUNNING
    )
    capacity = models.PositiveIntegerField(_("capacity"))
    running = models.PositiveIntegerField(_("running"), default=0)
    loop_lag = models.FloatField(_("loop lag (s)"), default=0.0)
    versions = models.JSONField(_("versions"), default=dict)

    objects = ConfiguredManager.from_queryset(NodeQuerySet)()

    class Meta:
        verbose_name = _("scheduler node")
        verbose_name_plural = _("scheduler nodes")
        indexes = [
            models.Index(fields=["state", "heartbeat_at"], name="apscheduler_node_alive"),
        ]

    def __str__(self) -> str:
        return f"{self.name} (#{self.pk})"

    def is_silent(self, now: datetime, timeout: float) -> bool:
        """Return True if the last sign of life is older than `timeout` seconds."""
        return bool(self.heartbeat_at < now - timedelta(seconds=timeout))
