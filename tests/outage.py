"""Take the round's database away for real, and give it back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings
from django.db import connections


@contextmanager
def database_away() -> Iterator[None]:
    """Within the block no thread of any process can use the default database.

    PostgreSQL refuses connections to it after all were ended; SQLite is locked by another writer.
    """
    vendor = settings.DATABASE_VENDOR
    if vendor == "mariadb":
        pytest.skip("MariaDB cannot refuse connections to one database; see the acceptance tests")
    with _postgresql_closed() if vendor == "postgresql" else _sqlite_locked():
        yield


@contextmanager
def _postgresql_closed() -> Iterator[None]:
    import psycopg

    target = connections["default"].settings_dict
    server: dict[str, Any] = {
        "host": target["HOST"],
        "port": target["PORT"],
        "user": target["USER"],
        "password": target["PASSWORD"] or None,
        "dbname": "postgres",
    }
    name = psycopg.sql.Identifier(target["NAME"])
    switch = psycopg.sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with psycopg.connect(**server, autocommit=True) as admin:
        admin.execute(switch.format(name, psycopg.sql.SQL("false")))
        try:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [target["NAME"]],
            )
            yield
        finally:
            admin.execute(switch.format(name, psycopg.sql.SQL("true")))


@contextmanager
def _sqlite_locked() -> Iterator[None]:
    path = connections["default"].settings_dict["NAME"]
    other = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
    try:
        other.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        other.close()
