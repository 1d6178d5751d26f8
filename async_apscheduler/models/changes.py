"""JobChange: who changed which job, and what it was before."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from async_apscheduler.masking import masked, masked_arguments
from async_apscheduler.models.fields import ExactCharField, MomentField
from async_apscheduler.models.managers import ConfiguredManager, ConfiguredModel


class JobChange(ConfiguredModel):
    """One change of a job; rows are only ever added."""

    class Action(models.TextChoices):
        """What was done."""

        ADDED = "added", _("added")
        CHANGED = "changed", _("changed")
        PAUSED = "paused", _("paused")
        RESUMED = "resumed", _("resumed")
        REMOVED = "removed", _("removed")

    job_id = ExactCharField(_("job"), max_length=255)
    action = models.CharField(_("action"), max_length=10, choices=Action.choices)
    changed_at = MomentField(_("when"), default=timezone.now)
    changed_by = models.CharField(_("who"), max_length=255, blank=True, default="")
    before = models.JSONField(_("before"), default=dict)
    after = models.JSONField(_("after"), default=dict)

    objects = ConfiguredManager()

    class Meta:
        verbose_name = _("job change")
        verbose_name_plural = _("job changes")
        indexes = [
            models.Index(fields=["job_id", "changed_at"], name="apscheduler_change_of_job"),
        ]

    def __str__(self) -> str:
        return f"{self.job_id}: {self.action}"


def record_change(
    database: str,
    job_id: str,
    action: JobChange.Action,
    *,
    by: str = "",
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Add a line to the audit trail, in the caller's transaction.

    `before` and `after` hold the changed fields only; secrets in them are not kept.
    """
    JobChange.objects.using(database).create(
        job_id=job_id,
        action=action,
        changed_by=by[:255],
        before=masked(before or {}),
        after=masked(after or {}),
    )


def without_secrets(fields: dict[str, Any], *, func: str) -> dict[str, Any]:
    """Return columns of a job for the audit trail, which may outlive a password by years.

    `func` is the job's function if it is not among them: it knows the names of the arguments.
    """
    shown: dict[str, Any] = masked(fields)
    if "args" in fields:
        arguments = masked_arguments(fields.get("func", func), fields["args"], {})
        shown["args"] = [value for _, value in arguments]
    return shown
