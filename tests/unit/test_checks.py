"""System checks: each finds its mistake and is silent without it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from async_apscheduler import checks


def ids(check: Callable[[None], list[Any]]) -> list[str]:
    """Return the ids of what a check finds."""
    return [message.id for message in check(None)]


def sqlite_file(folder: Path, journal_mode: str) -> Path:
    """Make a database file with a table and return its path."""
    path = folder / "db.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode={journal_mode}")
        connection.execute("CREATE TABLE t (a)")
        connection.commit()
    return path


def database(name: object, **options: Any) -> Any:
    """Return settings with this SQLite database."""
    entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": options}
    return override_settings(DATABASES={"default": entry})


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
@pytest.mark.parametrize(("journal_mode", "found"), [("WAL", []), ("DELETE", ["W002"])])
def test_wal_is_recommended_for_an_sqlite_file_without(
    tmp_path: Path, journal_mode: str, found: list[str]
) -> None:
    """The file remembers its mode; the hint says how to set it."""
    with database(sqlite_file(tmp_path, journal_mode)):
        messages = checks.check_sqlite_journal(None)

    assert [message.id for message in messages] == [f"async_apscheduler.{id}" for id in found]
    assert all("PRAGMA journal_mode=WAL" in str(message.hint) for message in messages)


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
@pytest.mark.parametrize(
    ("name", "options", "is_silent"),
    [
        ("no such file", {}, False),
        ("no such file", {"init_command": "PRAGMA journal_mode=TRUNCATE"}, False),
        (
            "no such file",
            {"init_command": "PRAGMA synchronous=NORMAL; PRAGMA journal_mode = wal;"},
            True,
        ),
        ("no such file", {"init_command": "pragma journal_mode('WAL')"}, True),
        (":memory:", {}, True),
        ("file:shared?mode=memory&cache=shared", {}, True),
    ],
)
def test_wal_may_be_set_in_the_options(name: str, options: Any, is_silent: bool) -> None:
    """And a database in memory needs none."""
    with database(name, **options):
        assert (ids(checks.check_sqlite_journal) == []) is is_silent


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
def test_other_databases_have_no_journal_to_set() -> None:
    """Nor has a wrong setting, which another check tells of."""
    entry = {"ENGINE": "django.db.backends.postgresql", "NAME": "shop"}

    with override_settings(DATABASES={"default": entry}):
        assert ids(checks.check_sqlite_journal) == []
    with override_settings(ASYNC_APSCHEDULER={"DATABASE": "nowhere"}):
        assert ids(checks.check_sqlite_journal) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"APSCHEDULER_RUN_NOW_TIMEOUT": "25"},
        {"APSCHEDULER_RUN_NOW_TIMEOUT": -1},
        {"APSCHEDULER_RUN_NOW_TIMEOUT": True},
        {"APSCHEDULER_DATETIME_FORMAT": 7},
    ],
)
def test_the_settings_of_the_admin_are_checked(wrong: dict[str, Any]) -> None:
    """Before anybody opens a page."""
    assert ids(checks.check_admin_settings) == []

    with override_settings(**wrong):
        (message,) = checks.check_admin_settings(None)

    assert message.id == "async_apscheduler.E002"
    assert message.obj in wrong
    assert message.obj in message.msg
