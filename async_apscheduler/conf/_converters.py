"""From what a project writes to what is used: one function for each kind of value.

Each raises TypeError or ValueError, with a text that goes on after the name of the key.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta, tzinfo
from typing import Any, Literal
from zoneinfo import ZoneInfo

from async_apscheduler.conf._settings import JobDefaults, Retention


def did_you_mean(key: object, known: Iterable[str]) -> str:
    """Return what to say of a name that is not known: the closest one, or all there are."""
    by_capitals = {name.upper(): name for name in known}
    close = difflib.get_close_matches(str(key).upper(), by_capitals, n=1)
    if close:
        return f"; did you mean {by_capitals[close[0]]!r}?"
    return f"; known are {', '.join(by_capitals.values())}."


def zone_of(value: Any) -> tzinfo:
    """Return a time zone, from itself or its name."""
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
            raise ValueError(f"{unknown[0]!r} is unknown{did_you_mean(unknown[0], converters)}")
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


CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "DATABASE": _text,
    "TIME_ZONE": zone_of,
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
