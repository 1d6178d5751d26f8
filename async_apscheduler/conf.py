"""The settings: one dict ``ASYNC_APSCHEDULER``, read into a typed, frozen object.

Use ``get_settings()`` at the moment of use, never at import: it follows ``override_settings``.
Every field below is a key of the dict in capitals; durations are seconds (a number or a
``timedelta`` is accepted).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta, tzinfo
from typing import Any, Literal
from zoneinfo import ZoneInfo

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from async_apscheduler.exceptions import ConfigurationError

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


def get_settings() -> Settings:
    """Return the settings now in force.

    Raises ConfigurationError for unknown keys and wrong values, all of them in one message.
    """
    global _cached
    if _cached is None:
        _cached = _read(getattr(django_settings, SETTING, {}))
    return _cached


_cached: Settings | None = None


def _forget(*, setting: str, **_: object) -> None:
    global _cached
    if setting in (SETTING, "TIME_ZONE", "INSTALLED_APPS", "DATABASES"):
        _cached = None


setting_changed.connect(_forget)


def _read(raw: Any) -> Settings:
    if not isinstance(raw, Mapping):
        raise ConfigurationError(f"{SETTING} must be a dict, not {type(raw).__name__}.")
    known = {f.name.upper(): f.name for f in fields(Settings)}
    values: dict[str, Any] = {
        "time_zone": _zone(django_settings.TIME_ZONE),
        "allowed_modules": _installed_packages(),
    }
    problems = []
    for key, value in raw.items():
        if key not in known:
            problems.append(f"{SETTING}[{key!r}] is unknown{_did_you_mean(key, known)}")
            continue
        try:
            values[known[key]] = _CONVERTERS[key](value)
        except (TypeError, ValueError, LookupError, OSError) as error:
            problems.append(f"{SETTING}[{key!r}]: {error}")
    if not problems:
        problems = _contradictions(Settings(**values))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return Settings(**values)


def _did_you_mean(key: object, known: Iterable[str]) -> str:
    by_capitals = {name.upper(): name for name in known}
    close = difflib.get_close_matches(str(key).upper(), by_capitals, n=1)
    if close:
        return f"; did you mean {by_capitals[close[0]]!r}?"
    return f"; known are {', '.join(by_capitals.values())}."


def _contradictions(settings: Settings) -> list[str]:
    problems = []
    if settings.database not in django_settings.DATABASES:
        names = ", ".join(repr(name) for name in django_settings.DATABASES)
        problems.append(
            f"{SETTING}['DATABASE'] is {settings.database!r}, but DATABASES has {names}."
        )
    if settings.node_timeout < 2 * settings.heartbeat_interval:
        problems.append(
            f"{SETTING}['NODE_TIMEOUT'] must be at least twice HEARTBEAT_INTERVAL, or one late "
            "heartbeat makes a healthy node count as lost."
        )
    return problems


def _installed_packages() -> tuple[str, ...]:
    from django.apps import apps

    apps.check_apps_ready()
    return tuple(config.name for config in apps.get_app_configs())


def _zone(value: Any) -> tzinfo:
    if isinstance(value, tzinfo):
        return value
    if not isinstance(value, str):
        raise TypeError(f"expected the name of a time zone, got {value!r}")
    try:
        return ZoneInfo(value)
    except (LookupError, ValueError, OSError):
        raise ValueError(f"{value!r} is not the name of a time zone") from None


def _seconds(value: Any) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not 0 < seconds < 1e9:
        raise ValueError(f"expected a positive number of seconds or a timedelta, got {value!r}")
    return float(seconds)


def _seconds_or_zero(value: Any) -> float:
    is_zero = value in (0, timedelta(0)) and not isinstance(value, bool)
    return 0.0 if is_zero else _seconds(value)


def _whole_seconds(value: Any) -> int:
    seconds = _seconds(value)
    if not seconds.is_integer():
        raise ValueError(f"expected a whole number of seconds, got {value!r}")
    return int(seconds)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"expected a whole number of at least 1, got {value!r}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string, got {value!r}")
    return value


def _words(value: Any) -> tuple[str, ...]:
    is_list = isinstance(value, (list, tuple, set, frozenset))
    if not is_list or not all(isinstance(word, str) for word in value):
        raise TypeError(f"expected a list of words such as 'iban', got {value!r}")
    for word in value:
        if not any(map(str.isalnum, word)):
            raise ValueError(f"expected words, but {word!r} has no letter and would fit every name")
    return tuple(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected True or False, got {value!r}")
    return value


def _serializer(value: Any) -> str:
    if value not in ("json", "pickle"):
        raise ValueError(f"expected 'json' or 'pickle', got {value!r}")
    return str(value)


def _modules(value: Any) -> tuple[str, ...] | Literal["*"]:
    if value == "*":
        return "*"
    is_list = isinstance(value, (list, tuple, set, frozenset))
    if not is_list or not all(isinstance(name, str) for name in value):
        raise TypeError(f"expected a list of package names, or '*', got {value!r}")
    return tuple(value)


def _executors(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"expected a dict of alias to executor, got {value!r}")
    return dict(value)


def _optional(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else convert(value)


def _record(kind: type, converters: Mapping[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Return a converter of a dict with the keys of the dataclass `kind`."""

    def convert(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError(f"expected a dict with {', '.join(converters)}, got {value!r}")
        unknown = [key for key in value if key not in converters]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is unknown{_did_you_mean(unknown[0], converters)}")
        return kind(**{key: converters[key](item) for key, item in value.items()})

    return convert


_retention_record = _record(
    Retention, {"max_age": _optional(_seconds), "max_runs_per_job": _optional(_count)}
)


def _retention(value: Any) -> Retention:
    if value is None:
        return Retention(max_age=None)
    if isinstance(value, Mapping):
        return _retention_record(value)  # type: ignore[no-any-return]  # _record is generic
    return Retention(max_age=_seconds(value))


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "DATABASE": _text,
    "TIME_ZONE": _zone,
    "MAX_CONCURRENT_RUNS": _count,
    "THREADS": _count,
    "DB_THREADS": _count,
    "POLL_INTERVAL": _seconds,
    "HEARTBEAT_INTERVAL": _seconds,
    "NODE_TIMEOUT": _seconds,
    "SHUTDOWN_TIMEOUT": _seconds_or_zero,
    "JOB_DEFAULTS": _record(
        JobDefaults,
        {
            "coalesce": _flag,
            "misfire_grace_time": _optional(_whole_seconds),
            "max_instances": _count,
        },
    ),
    "EXECUTORS": _executors,
    "ALLOWED_MODULES": _modules,
    "SERIALIZER": _serializer,
    "RETENTION": _retention,
    "LOG_CAPTURE": _flag,
    "RETURN_VALUE_MAX_BYTES": _count,
    "BLOCKED_LOOP_THRESHOLD": _seconds,
    "ENVIRONMENT": _text,
    "SENSITIVE_NAMES": _words,
}
