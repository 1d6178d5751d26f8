"""Where a run can be in its life, and why a fire did not become one."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Status(models.TextChoices):
    """Where a run is in its life.

    pending → running → succeeded | failed | timed_out | cancelled | lost; a retry goes back to
    pending; skipped says that there was no run, and `reason` says why.
    """

    PENDING = "pending", _("pending")
    RUNNING = "running", _("running")
    SUCCEEDED = "succeeded", _("succeeded")
    FAILED = "failed", _("failed")
    TIMED_OUT = "timed_out", _("timed out")
    CANCELLED = "cancelled", _("cancelled")
    LOST = "lost", _("lost")
    SKIPPED = "skipped", _("skipped")


ACTIVE = (Status.PENDING, Status.RUNNING)
FINAL = tuple(status for status in Status if status not in ACTIVE)


class Reason(models.TextChoices):
    """Why a fire did not become a run, or why a run ended as it did."""

    MISSED = "missed", _("missed: later than its grace time")
    COALESCED = "coalesced", _("coalesced into one later run")
    OVERLAP = "overlap", _("overlap: max_instances runs were active")
    REMOVED = "removed", _("its job was removed")
    REQUESTED = "requested", _("cancelled on request")
    SHUTDOWN = "shutdown", _("cancelled at shutdown")
    RAISED = "raised", _("the job raised CancelledError")
    NODE_LOST = "node_lost", _("its node was lost")
    UNREADABLE = "unreadable", _("its job could not be restored")
