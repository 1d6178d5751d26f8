"""The manager of every model here: it goes to the database that the settings name."""

from __future__ import annotations

from typing import Any

from django.db import connections, models

from async_apscheduler.conf import get_settings


class ConfiguredQuerySet(models.QuerySet[Any]):
    """A QuerySet on ASYNC_APSCHEDULER["DATABASE"]."""

    def locked(self) -> ConfiguredQuerySet:
        """Lock the rows, leaving out those that somebody else has locked.

        SQLite has no row locks; there the transaction has taken the write lock before.
        """
        features = connections[self.db].features
        if not features.has_select_for_update:
            return self
        return self.select_for_update(skip_locked=features.has_select_for_update_skip_locked)


class ConfiguredManager(models.Manager[Any]):
    """Starts every query on ASYNC_APSCHEDULER["DATABASE"], unless `using()` says otherwise."""

    use_in_migrations = False

    def get_queryset(self) -> Any:
        """Return a QuerySet on the configured database."""
        queryset = super().get_queryset()
        return queryset if self._db else queryset.using(get_settings().database)
