"""System checks: what is wrong with the configuration, before anything runs.

E001 the setting is wrong · W001 SQLite gives up too soon when another process is writing
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings as django_settings
from django.core import checks

from async_apscheduler.conf import SETTING, get_settings
from async_apscheduler.exceptions import ConfigurationError


def register() -> None:
    """Register the checks; called once, when Django is ready."""
    checks.register(check_settings)
    checks.register(check_sqlite_patience)


def check_settings(app_configs: Sequence[Any] | None, **_: Any) -> list[checks.CheckMessage]:
    """async_apscheduler.E001: a key of ASYNC_APSCHEDULER is unknown or has a wrong value."""
    try:
        get_settings()
    except ConfigurationError as error:
        return [
            checks.Error(line, id="async_apscheduler.E001", obj=SETTING)
            for line in str(error).splitlines()
        ]
    return []


def check_sqlite_patience(app_configs: Sequence[Any] | None, **_: Any) -> list[checks.CheckMessage]:
    """async_apscheduler.W001: SQLite gives up waiting for its write lock within a second."""
    try:
        alias = get_settings().database
    except ConfigurationError:
        return []
    database = django_settings.DATABASES[alias]
    timeout = database.get("OPTIONS", {}).get("timeout", 5)
    if not str(database.get("ENGINE", "")).endswith("sqlite3") or timeout >= 1:
        return []
    return [
        checks.Warning(
            f"DATABASES[{alias!r}] gives up after {timeout} seconds when another process is "
            "writing, so that web requests and schedulers fail each other.",
            hint="Remove OPTIONS['timeout'], or set it to 5 seconds or more.",
            id="async_apscheduler.W001",
        )
    ]
