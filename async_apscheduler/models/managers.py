"""The manager of every model here: it goes to the database that the settings name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections, models

from async_apscheduler.conf import get_settings
from async_apscheduler.models.bulk import Among


class ConfiguredQuerySet(models.QuerySet[Any]):
    """A QuerySet on ASYNC_APSCHEDULER["DATABASE"]."""

    def with_keys(self, keys: Sequence[Any]) -> Any:
        """Rows by their primary keys, which may be more than Django's `pk__in` deals with well."""
        return self.filter(Among(models.F("pk"), keys)) if keys else self.none()

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

    @property
    def db(self) -> str:
        """Alias of the database that queries of this manager go to."""
        return self._db or get_settings().database

    def get_queryset(self) -> Any:
        """Return a QuerySet on the configured database."""
        return super().get_queryset().using(self.db)


class ConfiguredModel(models.Model):
    """A row that is saved where the managers look for it."""

    class Meta:
        abstract = True

    def save(self, *, using: str | None = None, **options: Any) -> None:
        """See Django; without `using` a row stays where it came from."""
        super().save(using=using or self.database, **options)

    @property
    def database(self) -> str:
        """Alias of the database that this row came from, or else of the configured one."""
        return self._state.db or get_settings().database
