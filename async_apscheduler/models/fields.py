"""What columns hold, the same on every database: exact text, moments in UTC, versions of rows."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone


def new_version() -> int:
    """Return the version of a row that is new: the microsecond of its making.

    A job that is added under the id of one that was removed must not be taken for that one.
    """
    return time.time_ns() // 1000


class ExactCharField(models.CharField):  # type: ignore[type-arg]  # the stubs' generic, not Django's
    """Text that compares byte for byte.

    MySQL and MariaDB compare by collation: by default ``Job`` equals ``job``, and ``a`` equals
    ``a`` with a space behind it. As a primary key that would make two jobs one.
    """

    def get_prep_value(self, value: Any) -> Any:
        # Django's lookup of several related rows would turn an expression into text.
        return value if hasattr(value, "resolve_expression") else super().get_prep_value(value)

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        parameters = super().db_parameters(connection)
        if connection.vendor == "mysql":
            exact = "utf8mb4_nopad_bin" if _is_mariadb(connection) else "utf8mb4_0900_bin"
            parameters["collation"] = exact
        return parameters


class MomentField(models.DateTimeField):  # type: ignore[type-arg]  # see above
    """A moment: aware, in UTC, with microseconds, whatever USE_TZ and TIME_ZONE are.

    Under ``USE_TZ = False`` Django would store local time, which is ambiguous for an hour each
    autumn; a next run time must not be.
    """

    def to_python(self, value: Any) -> datetime | None:
        moment = super().to_python(value)
        if moment is not None and timezone.is_naive(moment):
            moment = timezone.make_aware(moment, timezone.get_default_timezone())
        return None if moment is None else moment.astimezone(UTC)

    def get_prep_value(self, value: Any) -> Any:
        value = models.Field.get_prep_value(self, value)  # not DateTimeField's warning
        if hasattr(value, "resolve_expression"):
            return value
        return self.to_python(value)

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> Any:
        is_moment = type(value) is datetime and value.tzinfo is UTC
        if not prepared and not is_moment:
            value = self.get_prep_value(value)
        if isinstance(value, datetime) and connection.timezone in (None, UTC):
            if connection.vendor == "postgresql":
                return value
            if connection.vendor in ("sqlite", "mysql"):
                return str(value.replace(tzinfo=None))
            value = value if settings.USE_TZ else value.replace(tzinfo=None)
        return connection.ops.adapt_datetimefield_value(value)

    def select_format(self, compiler: Any, sql: str, params: Any) -> tuple[str, Any]:
        is_handed_out = not compiler.query.subquery
        if is_handed_out and not settings.USE_TZ and compiler.connection.vendor == "postgresql":
            # Without time zone support the backend would hand out the session's local time.
            return f"({sql} AT TIME ZONE 'UTC')", params
        return super().select_format(compiler, sql, params)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> datetime | None:
        if not isinstance(value, datetime):
            return value if value is None else self.to_python(value)
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _is_mariadb(connection: Any) -> bool:
    return bool(connection.mysql_is_mariadb)
