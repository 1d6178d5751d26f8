"""The Django project that a side is measured in: its settings, an empty database, its tables."""

from __future__ import annotations

import gc
from importlib.metadata import version as version_of
from typing import Any, cast
from urllib.parse import quote

import django
from django.conf import settings
from django.db import connection

from tests.benchmarks.sides import Durability, Side
from tests.databases import Vendor, django_database

_APPS = ("django.contrib.auth", "django.contrib.contenttypes")
_ADMIN_APPS = (
    "django.contrib.admin",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
)
_ADMIN_SETTINGS: dict[str, Any] = {
    "ROOT_URLCONF": "tests.benchmarks.w10.urls",
    "STATIC_URL": "static/",
    "ALLOWED_HOSTS": ["testserver"],
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ],
            },
        },
    ],
}


COLLECTION = (10_000, 5, 10)
"""That of `async_apscheduler.management.process`, which not every side can import."""


def spare_the_collector() -> None:
    """Let the garbage collector come seldom and ignore the modules, as `runasyncscheduler` does.

    It would stop the loop for some 50 ms to look at them, in the middle of a measurement. So for
    every side.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTION)


class NotDurableError(Exception):
    """The database would not keep what it has committed; the text says what to change."""


def set_up(
    side: Side, vendor: Vendor, durability: Durability, *, needs_admin: bool = False
) -> None:
    """Configure Django for the side and give it an empty, migrated database.

    Raises NotDurableError for a server that trades safety for speed.
    """
    configure(side, vendor, durability, needs_admin=needs_admin)
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    _check_durability()


def configure(
    side: Side, vendor: Vendor, durability: Durability, *, needs_admin: bool = False
) -> None:
    """Configure Django for the side, on the database as it is."""
    if vendor == "mariadb":
        _choose_mysql_driver()
    database = django_database(vendor, "default")
    if vendor == "sqlite":
        database["OPTIONS"] = dict(side.sqlite[durability])
    settings.configure(
        DATABASES={"default": database},
        INSTALLED_APPS=[*_APPS, *(_ADMIN_APPS if needs_admin else ()), *side.apps],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        SECRET_KEY="only for benchmarks",
        USE_TZ=True,
        TIME_ZONE="UTC",
        **(_ADMIN_SETTINGS if needs_admin else {}),
        **side.settings,
    )
    django.setup()


def database_url(*, postgresql: str = "postgresql") -> str:
    """Return the address of the database, as libpq and SQLAlchemy want it.

    `postgresql` is the scheme there: SQLAlchemy's names the driver as well.
    """
    values = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{values['NAME']}"
    scheme = postgresql if _is_postgresql() else "mysql+pymysql"
    user = quote(values["USER"]) + (f":{quote(values['PASSWORD'])}" if values["PASSWORD"] else "")
    if values["HOST"].startswith("/"):  # the folder of a socket
        return f"{scheme}://{user}@/{values['NAME']}?host={values['HOST']}&port={values['PORT']}"
    return f"{scheme}://{user}@{values['HOST']}:{values['PORT']}/{values['NAME']}"


def describe_database() -> str:
    """Return the database's version and what its durability rests on, as this session sees it."""
    if connection.vendor == "sqlite":
        version = _ask("SELECT sqlite_version()")
        synchronous = ("OFF", "NORMAL", "FULL", "EXTRA")[int(_ask("PRAGMA synchronous"))]
        mode = connection.settings_dict["OPTIONS"].get("transaction_mode")
        return (
            f"SQLite {version}, journal_mode={_ask('PRAGMA journal_mode')}, "
            f"synchronous={synchronous}{f', transaction_mode={mode}' if mode else ''}"
        )
    names = [name for name, _ in _DURABLE[connection.vendor]]
    values = ", ".join(f"{name}={_ask(_question(name))}" for name in names)
    version = _ask(_question("server_version" if _is_postgresql() else "version"))
    label = "PostgreSQL" if _is_postgresql() else "MariaDB/MySQL"
    return f"{label} {version.split()[0]}, {values}, {_driver()}"


def settle() -> None:
    """After rows were inserted: let the server know what is in its tables, as it soon would."""
    with connection.cursor() as cursor:
        if _is_postgresql():
            cursor.execute("VACUUM ANALYZE")
        elif connection.vendor == "mysql":
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f"ANALYZE TABLE {connection.ops.quote_name(table)}")
                cursor.fetchall()


_DURABLE: dict[str, list[tuple[str, str]]] = {
    "sqlite": [],
    "postgresql": [("fsync", "on"), ("synchronous_commit", "on"), ("full_page_writes", "on")],
    "mysql": [("innodb_flush_log_at_trx_commit", "1"), ("innodb_doublewrite", "1")],
}
"""Settings of the servers with the values that full durability takes."""

_DRIVERS = {"psycopg": "psycopg", "MySQLdb": "mysqlclient", "pymysql": "PyMySQL"}
"""Distributions by the module that Django uses."""


def _check_durability() -> None:
    for name, safe in _DURABLE[connection.vendor]:
        if (value := _ask(_question(name))) != safe:
            raise NotDurableError(
                f"{name} is {value!r} on this server, so its speed says nothing about one that "
                f"keeps what it commits. Set it to {safe!r} for the benchmark."
            )


def _choose_mysql_driver() -> None:
    """Take mysqlclient if it was installed, which needs a compiler, and PyMySQL otherwise."""
    try:
        import MySQLdb  # type: ignore[import-untyped]  # noqa: F401  # is it there?
    except ImportError:
        import pymysql

        pymysql.install_as_MySQLdb()


def _driver() -> str:
    package = _DRIVERS[cast(Any, connection).Database.__name__]
    return f"{package} {version_of(package)}"


def _is_postgresql() -> bool:
    return connection.vendor == "postgresql"


def _question(name: str) -> str:
    return f"SHOW {name}" if _is_postgresql() else f"SELECT @@{name}"


def _ask(question: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(question)
        return str(cursor.fetchone()[0])
