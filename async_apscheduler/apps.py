"""The Django app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AsyncAPSchedulerConfig(AppConfig):
    """Registers models, admin, checks and the logging of what happens."""

    name = "async_apscheduler"
    verbose_name = _("Scheduled jobs")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect what listens."""
        from async_apscheduler import checks, logs

        checks.register()
        logs.connect()
