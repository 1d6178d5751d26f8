"""System checks: what is wrong with the configuration, before anything runs.

E001 the setting is wrong · E002 a setting of the admin is wrong
W001 SQLite gives up too soon when another process is writing · W002 SQLite without WAL
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.core import checks

from async_apscheduler.admin_settings import datetime_format, run_now_timeout
from async_apscheduler.conf import SETTING, get_settings
from async_apscheduler.exceptions import ConfigurationError

_WAL = re.compile(r"journal_mode\s*(?:=|\()\s*[\"']?wal\b", re.IGNORECASE)

_IN_MEMORY = re.compile(r":memory:|mode=memory")

_VERSIONS_IN_HEADER = slice(18, 20)
"""The bytes of an SQLite file that tell its write and read version: 2 and 2 mean WAL."""


def register() -> None:
    """Register the checks; called once, when Django is ready."""
    checks.register(check_settings)
    checks.register(check_admin_settings)
    checks.register(check_sqlite_patience)
    checks.register(check_sqlite_journal)


def check_settings(app_configs: Sequence[Any] | None, **_: Any) -> list[checks.CheckMessage]:
    """async_apscheduler.E001: a key of ASYNC_APSCHEDULER is unknown or has a wrong value."""
    return _errors(get_settings, id="async_apscheduler.E001", obj=SETTING)


def check_admin_settings(app_configs: Sequence[Any] | None, **_: Any) -> list[checks.CheckMessage]:
    """async_apscheduler.E002: a setting that begins with APSCHEDULER_ is of a wrong kind."""
    return [
        *_errors(datetime_format, id="async_apscheduler.E002", obj="APSCHEDULER_DATETIME_FORMAT"),
        *_errors(run_now_timeout, id="async_apscheduler.E002", obj="APSCHEDULER_RUN_NOW_TIMEOUT"),
    ]


def check_sqlite_patience(app_configs: Sequence[Any] | None, **_: Any) -> list[checks.CheckMessage]:
    """async_apscheduler.W001: SQLite gives up waiting for its write lock within a second."""
    alias, database = _sqlite()
    timeout = database.get("OPTIONS", {}).get("timeout", 5)
    if not database or timeout >= 1:
        return []
    return [
        checks.Warning(
            f"DATABASES[{alias!r}] gives up after {timeout} seconds when another process is "
            "writing, so that web requests and schedulers fail each other.",
            hint="Remove OPTIONS['timeout'], or set it to 5 seconds or more.",
            id="async_apscheduler.W001",
        )
    ]


def check_sqlite_journal(app_configs: Sequence[Any] | None, **_: Any) -> list[checks.CheckMessage]:
    """async_apscheduler.W002: in SQLite's default journal mode readers and writers wait in turn."""
    alias, database = _sqlite()
    if not database or _has_wal(database):
        return []
    return [
        checks.Warning(
            f"DATABASES[{alias!r}] is an SQLite file without a write-ahead log, so that whoever "
            "reads makes the schedulers wait, and the other way round.",
            hint=f"Set DATABASES[{alias!r}]['OPTIONS'] = "
            "{'init_command': 'PRAGMA journal_mode=WAL'}, or say so once in the sqlite3 shell: "
            "the file keeps it. To go without, put the id into SILENCED_SYSTEM_CHECKS.",
            id="async_apscheduler.W002",
        )
    ]


def _errors(read: Callable[[], object], *, id: str, obj: str) -> list[checks.CheckMessage]:
    """Return an error for each line of what `read` raises."""
    try:
        read()
    except ConfigurationError as error:
        return [checks.Error(line, id=id, obj=obj) for line in str(error).splitlines()]
    return []


def _sqlite() -> tuple[str, dict[str, Any]]:
    """Return the alias and the entry of our database; an empty one if it is no SQLite."""
    try:
        alias = get_settings().database
    except ConfigurationError:
        return "", {}
    database = django_settings.DATABASES[alias]
    return alias, database if str(database.get("ENGINE", "")).endswith("sqlite3") else {}


def _has_wal(database: dict[str, Any]) -> bool:
    """Return True if the settings or the file say so, or if it is all in memory."""
    options, name = database.get("OPTIONS", {}), str(database.get("NAME", ""))
    if _WAL.search(str(options.get("init_command", ""))) or _IN_MEMORY.search(name):
        return True
    try:
        with Path(name.removeprefix("file:").partition("?")[0]).open("rb") as file:
            return file.read(20)[_VERSIONS_IN_HEADER] == b"\x02\x02"
    except OSError:
        return False
