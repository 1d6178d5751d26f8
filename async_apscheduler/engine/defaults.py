"""What APScheduler asks a scheduler for: defaults, triggers, how a job is put into a store."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.base import BaseTrigger

from async_apscheduler.conf import get_settings
from async_apscheduler.engine.executor import DjangoExecutor
from async_apscheduler.exceptions import ConfigurationError
from async_apscheduler.jobstores import DjangoJobStore
from async_apscheduler.triggers import check_trigger, create_trigger


class DjangoDefaults(BaseScheduler):  # type: ignore[misc]  # APScheduler is untyped
    """Mixin of DjangoScheduler."""

    def add_jobstore(self, jobstore: Any, alias: str = "default", **options: Any) -> None:
        """See APScheduler. A second DjangoJobStore is refused: it would be the same table."""
        other, store = self._django_store()
        if store is not None and (jobstore == "django" or isinstance(jobstore, DjangoJobStore)):
            raise ConfigurationError(
                f"The job stores {other!r} and {alias!r} are the same table. Give a "
                "DjangoScheduler one DjangoJobStore; other kinds may stand beside it."
            )
        super().add_jobstore(jobstore, alias, **options)

    def _configure(self, config: dict[str, Any]) -> None:
        settings = get_settings()
        config.setdefault("timezone", settings.time_zone)
        defaults = settings.job_defaults
        config["job_defaults"] = {
            "coalesce": defaults.coalesce,
            "misfire_grace_time": defaults.misfire_grace_time,
            "max_instances": defaults.max_instances,
            **config.get("job_defaults", {}),
        }
        config["executors"] = {**settings.executors, **config.get("executors", {})}
        super()._configure(config)

    def _create_default_executor(self) -> BaseExecutor:
        return DjangoExecutor()

    def _create_default_jobstore(self) -> DjangoJobStore:
        return DjangoJobStore()

    def _create_trigger(self, trigger: Any, trigger_args: dict[str, Any]) -> BaseTrigger:
        created = create_trigger(trigger, trigger_args, timezone=self.timezone)
        check_trigger(created, now=datetime.now(self.timezone))  # APScheduler might search for ever
        return created

    def _real_add_job(self, job: Job, jobstore_alias: str, replace_existing: bool) -> None:
        store = self._lookup_jobstore(jobstore_alias)
        if replace_existing and isinstance(store, DjangoJobStore):
            store.keep_schedule(job)
        super()._real_add_job(job, jobstore_alias, replace_existing)

    def _django_store(self) -> tuple[str, DjangoJobStore | None]:
        for alias, store in self._jobstores.items():
            if isinstance(store, DjangoJobStore):
                return alias, store
        return "default", None
