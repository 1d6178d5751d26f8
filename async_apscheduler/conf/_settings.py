"""What can be set, with the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Literal

SETTING = "ASYNC_APSCHEDULER"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDefaults:
    """What a job gets that does not say otherwise."""

    coalesce: bool = True
    """Several missed fires of a job become one run."""

    misfire_grace_time: int | None = None
    """Seconds after which a late run is skipped as missed; None runs it however late."""

    max_instances: int = 1
    """How many runs of one job may overlap, counted over all nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How much history is kept; the scheduler prunes the rest."""

    max_age: float | None = 7 * 86_400.0
    """Seconds that a finished run is kept; None keeps it for ever."""

    max_runs_per_job: int | None = None
    """How many finished runs of one job are kept; None sets no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings with their defaults."""

    database: str = "default"
    """Alias of the database that holds jobs and runs."""

    time_zone: tzinfo
    """Zone of triggers that name none. Default: Django's TIME_ZONE."""

    max_concurrent_runs: int = 1000
    """Runs at one time in one node; what does not fit stays for another node."""

    threads: int = 10
    """Threads for plain `def` jobs."""

    db_threads: int = 16
    """Threads, each with its own database connections, for ORM calls of coroutine jobs."""

    poll_interval: float = 1.0
    """Seconds between two looks for changes made elsewhere."""

    heartbeat_interval: float = 5.0
    """Seconds between two signs of life of a node."""

    node_timeout: float = 30.0
    """Seconds without a sign of life after which a node counts as lost."""

    shutdown_timeout: float = 30.0
    """Seconds that running jobs may go on after a stop request; then they are cancelled."""

    job_defaults: JobDefaults = field(default_factory=JobDefaults)
    """Options of jobs that do not say otherwise."""

    executors: Mapping[str, Any] = field(default_factory=dict)
    """APScheduler executors by alias, beside the built-in `default`."""

    allowed_modules: tuple[str, ...] | Literal["*"]
    """Packages that a function reference may point into. Default: the installed apps."""

    serializer: Literal["json", "pickle"] = "json"
    """`pickle` also carries arguments that JSON cannot, signed with SECRET_KEY."""

    retention: Retention = field(default_factory=Retention)
    """Age and number of finished runs that are kept."""

    log_capture: bool = True
    """Keep what a run logs in its row."""

    return_value_max_bytes: int = 65_536
    """Longest return value, as JSON, that is kept."""

    blocked_loop_threshold: float = 0.25
    """Seconds without a turn of the event loop after which the run that holds it is named."""

    environment: str = ""
    """A tag that nodes and database must share, so that a copied database runs nothing."""

    sensitive_names: tuple[str, ...] = ()
    """Words that make a name secret, so that its value is masked, beside `masking.SECRET_WORDS`."""
