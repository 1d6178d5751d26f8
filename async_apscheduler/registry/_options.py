"""The options of a job, checked where they are written, so that the traceback shows the line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from async_apscheduler.exceptions import InvalidJobError


class Unset:
    """The type of UNSET."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Any = Unset()
"""Marks an option that was not given, where None means something."""


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given, as a row keeps them: durations in seconds.

    Raises InvalidJobError for a wrong value.
    """
    found = {name: value for name, value in options.items() if value is not UNSET}
    return {name: _checked(name, value) for name, value in found.items()}


def _checked(name: str, value: Any) -> Any:
    try:
        return _CHECKS[name](value)
    except (TypeError, ValueError) as error:
        raise InvalidJobError(
            f"The option {name} of a job must be {error}, not {value!r}."
        ) from None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("a text that is not empty")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("True or False")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("a whole number of at least 1")
    return value


def _number_of_seconds(value: Any) -> float | None:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and 0 <= value < 1e9 else None


def _seconds_or_none(value: Any) -> float | None:
    if value is None:
        return None
    if not (seconds := _number_of_seconds(value)):
        raise ValueError("a positive number of seconds, a timedelta or None")
    return seconds


def _seconds_or_zero(value: Any) -> float:
    if (seconds := _number_of_seconds(value)) is None:
        raise ValueError("a number of seconds or a timedelta, and not negative")
    return seconds


def _whole_seconds_or_none(value: Any) -> int | None:
    if value is None:
        return None
    seconds = _number_of_seconds(value)
    if not seconds or not seconds.is_integer():
        raise ValueError("a whole number of seconds of at least 1, a timedelta or None")
    return int(seconds)


def _moment_or_none(value: Any) -> datetime | None:
    if value is not None and not isinstance(value, datetime):
        raise TypeError("a datetime, or None for a job that begins paused")
    return value


def _positional(value: Any) -> tuple[Any, ...]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise TypeError("a list or a tuple of arguments")
    return tuple(value)


def _by_name(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise TypeError("a dict of arguments by name")
    return dict(value)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "args": _positional,
    "kwargs": _by_name,
    "name": _text,
    "executor": _text,
    "coalesce": _flag,
    "max_instances": _count,
    "misfire_grace_time": _whole_seconds_or_none,
    "next_run_time": _moment_or_none,
    "timeout": _seconds_or_none,
    "max_attempts": _count,
    "retry_delay": _seconds_or_zero,
    "retry_on_lost": _flag,
}
