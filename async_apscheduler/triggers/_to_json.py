"""From triggers to readable JSON: APScheduler's own words, and only what differs from a default."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from async_apscheduler.exceptions import InvalidTriggerError
from async_apscheduler.references import check_allowed, reference_to
from async_apscheduler.triggers._combining import BoundedAndTrigger
from async_apscheduler.triggers._moments import moment_to_text, zone_name
from async_apscheduler.triggers.crontab import CrontabTrigger

Json = dict[str, Any]
Encode = Callable[[Any], Any]

MAX_NESTING = 5
"""Triggers inside ``and`` and ``or``: MariaDB reads 31 levels of JSON, and people far fewer."""


def trigger_to_json(trigger: BaseTrigger, *, encode: Encode) -> Json:
    """Return `trigger` as a JSON dict whose "type" is its alias in APScheduler, or its class.

    `encode` turns the state of a class that is not APScheduler's into JSON. Raises
    InvalidTriggerError for what cannot be stored; ReferenceNotAllowedError for a class outside
    ALLOWED_MODULES.
    """
    return _any(trigger, encode, 0)


def _any(trigger: BaseTrigger, encode: Encode, nesting: int) -> Json:
    if nesting > MAX_NESTING:
        raise InvalidTriggerError(
            f"Triggers may be nested {MAX_NESTING} levels deep at most. Write it as fewer."
        )
    kind = type(trigger)
    if kind in _COMBINING:
        parts = [_any(part, encode, nesting + 1) for part in trigger.triggers]
        return {"type": _COMBINING[kind], "triggers": parts, **_jitter(trigger)}
    if kind in _WRITERS:
        return _WRITERS[kind](trigger)
    if not isinstance(trigger, BaseTrigger):
        raise InvalidTriggerError(
            f"{trigger!r} is not a trigger. Give an alias such as 'cron', or a subclass of "
            "APScheduler's BaseTrigger."
        )
    return _custom(trigger, encode)


def _date(trigger: Any) -> Json:
    name = zone_name(trigger.run_date.tzinfo)
    zone = {} if name == "UTC" or name[0] in "+-" else {"timezone": name}
    return {"type": "date", "run_date": moment_to_text(trigger.run_date), **zone}


def _interval(trigger: Any) -> Json:
    return {
        "type": "interval",
        **_periods(trigger.interval),
        "start_date": moment_to_text(trigger.start_date),
        **_end(trigger),
        "timezone": zone_name(trigger.timezone),
        **_jitter(trigger),
    }


def _cron(trigger: Any) -> Json:
    fields = {field.name: str(field) for field in trigger.fields if not field.is_default}
    return {"type": "cron", **fields, **_bounds(trigger)}


def _crontab(trigger: Any) -> Json:
    return {"type": "crontab", "expression": trigger.expression, **_bounds(trigger)}


def _calendarinterval(trigger: Any) -> Json:
    state = trigger.__getstate__()  # the time of day has no public name
    periods = zip(("years", "months", "weeks", "days"), state["interval"], strict=True)
    clock = zip(("hour", "minute", "second"), state["time"], strict=True)
    return {
        "type": "calendarinterval",
        **{name: value for name, value in (*periods, *clock) if value},
        **{name: _day(state[name]) for name in ("start_date", "end_date") if state[name]},
        "timezone": zone_name(state["timezone"]),
        **_jitter(trigger),
    }


def _custom(trigger: Any, encode: Encode) -> Json:
    reference = reference_to(type(trigger))
    check_allowed(reference)
    return {"type": reference, "state": encode(trigger.__getstate__())}


_WRITERS: dict[type, Callable[[Any], Json]] = {
    DateTrigger: _date,
    IntervalTrigger: _interval,
    CronTrigger: _cron,
    CrontabTrigger: _crontab,
    CalendarIntervalTrigger: _calendarinterval,
}
_COMBINING: dict[type, str] = {AndTrigger: "and", BoundedAndTrigger: "and", OrTrigger: "or"}


def _bounds(trigger: Any) -> Json:
    start = trigger.start_date
    return {
        **({} if start is None else {"start_date": moment_to_text(start)}),
        **_end(trigger),
        "timezone": zone_name(trigger.timezone),
        **_jitter(trigger),
    }


def _end(trigger: Any) -> Json:
    return {} if trigger.end_date is None else {"end_date": moment_to_text(trigger.end_date)}


def _jitter(trigger: Any) -> Json:
    return {} if trigger.jitter is None else {"jitter": checked_jitter(trigger.jitter)}


def checked_jitter(jitter: Any) -> float:
    """Return a jitter in seconds. Raises InvalidTriggerError for what is none."""
    number = isinstance(jitter, (int, float)) and not isinstance(jitter, bool)
    if not number or not math.isfinite(jitter) or jitter < 0:
        raise InvalidTriggerError(
            f"The jitter of a trigger must be a number of seconds, not {jitter!r}."
        )
    return jitter  # type: ignore[no-any-return]  # seen to be a number


def _day(value: date) -> str:
    return (value.date() if isinstance(value, datetime) else value).isoformat()


def _periods(interval: timedelta) -> Json:
    """Return a length of time in APScheduler's words, exact to the microsecond."""
    if interval <= timedelta(0):
        raise InvalidTriggerError(f"An interval must be positive, not {interval}.")
    minutes, seconds = divmod(interval.seconds, 60)
    periods = {
        "weeks": interval.days // 7,
        "days": interval.days % 7,
        "hours": minutes // 60,
        "minutes": minutes % 60,
        "seconds": seconds + interval.microseconds / 1_000_000
        if interval.microseconds
        else seconds,
    }
    return {name: value for name, value in periods.items() if value}
