"""From readable JSON, perhaps edited by hand, to triggers."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Any

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from async_apscheduler.conf import get_settings
from async_apscheduler.exceptions import (
    InvalidJobError,
    InvalidTriggerError,
    ReferenceNotAllowedError,
)
from async_apscheduler.references import resolve
from async_apscheduler.triggers._combining import BoundedAndTrigger
from async_apscheduler.triggers._moments import day_from_text, moment_from_text, zone_from_name
from async_apscheduler.triggers._spelling import did_you_mean
from async_apscheduler.triggers._to_json import MAX_NESTING, checked_jitter
from async_apscheduler.triggers.crontab import CrontabTrigger

Decode = Callable[[Any], Any]


def trigger_from_json(data: Any, *, decode: Decode) -> BaseTrigger:
    """Return the trigger that trigger_to_json() was given.

    `decode` turns the JSON of a state back. A zone that is not named is TIME_ZONE of the settings.
    Raises InvalidTriggerError for whatever is wrong with the JSON, ReferenceNotAllowedError for a
    class outside ALLOWED_MODULES, and errors of `decode` that are not ValueErrors.
    """
    return _any(data, decode, 0)


def _any(data: Any, decode: Decode, nesting: int) -> BaseTrigger:
    if not isinstance(data, dict) or not isinstance(data.get("type"), str):
        raise InvalidTriggerError(
            'A stored trigger must be a dict with its "type", such as {"type": "interval", '
            '"minutes": 5}.'
        )
    if nesting > MAX_NESTING:
        raise InvalidTriggerError(
            f"A stored trigger is nested more than {MAX_NESTING} levels deep."
        )
    entries = _Entries(data)
    kind = data["type"]
    if ":" in kind:
        return _custom(entries, kind, decode)
    if kind not in (*_READERS, *_COMBINING):
        raise InvalidTriggerError(
            f"The trigger type {kind!r} is unknown{did_you_mean(kind, (*_READERS, *_COMBINING))}"
        )
    try:
        if kind in _COMBINING:
            trigger = _combined(entries, kind, decode, nesting)
        else:
            trigger = _READERS[kind](entries)
    except InvalidJobError:
        raise
    except (TypeError, ValueError, ArithmeticError) as error:
        raise InvalidTriggerError(f"The stored trigger {kind!r} is wrong: {error}.") from error
    entries.check_all_used()
    return trigger


class _Entries:
    """The entries of a trigger's JSON, each read as what it should be."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data
        self._used = {"type"}

    def given(self, key: str) -> Any:
        """Return an entry as it is, or None."""
        self._used.add(key)
        return self._data.get(key)

    def needed(self, key: str) -> Any:
        """Return an entry that must be there."""
        if key not in self._data:
            raise InvalidTriggerError(f"A stored trigger {self._data['type']!r} lacks {key!r}.")
        return self.given(key)

    def zone(self) -> tzinfo:
        """Return the time zone, by default that of the settings."""
        name = self.given("timezone")
        return get_settings().time_zone if name is None else zone_from_name(name)

    def moment(self, key: str) -> datetime | None:
        """Return a moment in the trigger's zone, or None."""
        text = self.given(key)
        return None if text is None else moment_from_text(text, self.zone())

    def bounds(self) -> dict[str, Any]:
        """Return what interval, cron and crontab share."""
        return {
            "start_date": self.moment("start_date"),
            "end_date": self.moment("end_date"),
            "timezone": self.zone(),
            **self.jitter(),
        }

    def jitter(self) -> dict[str, Any]:
        """Return the jitter, if there is one."""
        jitter = self.given("jitter")
        return {} if jitter is None else {"jitter": checked_jitter(jitter)}

    def numbers(self, *keys: str, whole: bool) -> dict[str, Any]:
        """Return those of the entries that are there, as numbers."""
        self._used.update(keys)
        found = {key: self._data[key] for key in keys if key in self._data}
        for key, value in found.items():
            right = type(value) is int or (type(value) is float and not whole)
            if not right or not math.isfinite(value):
                raise InvalidTriggerError(
                    f"{key!r} of a stored trigger must be a {'whole ' if whole else ''}number, not "
                    f"{value!r}."
                )
        return found

    def check_all_used(self) -> None:
        """Raise InvalidTriggerError for an entry that nobody has read."""
        for key in self._data:
            if key not in self._used:
                hint = did_you_mean(str(key), sorted(self._used))
                raise InvalidTriggerError(
                    f"{key!r} means nothing to a stored trigger {self._data['type']!r}{hint}"
                )


def _date(entries: _Entries) -> BaseTrigger:
    zone = None if entries.given("timezone") is None else entries.zone()
    moment = moment_from_text(entries.needed("run_date"), zone)
    return DateTrigger(moment if zone is None else moment.astimezone(zone), timezone=UTC)


def _interval(entries: _Entries) -> BaseTrigger:
    periods = entries.numbers("weeks", "days", "hours", "minutes", "seconds", whole=False)
    bounds = entries.bounds()
    entries.check_all_used()  # "minute" is told better than the lack of a length
    if not any(periods.values()):
        raise InvalidTriggerError(
            "A stored trigger 'interval' lacks its length: weeks, days, hours, minutes or seconds."
        )
    return IntervalTrigger(**periods, **bounds)


def _cron(entries: _Entries) -> BaseTrigger:
    fields = {name: entries.given(name) for name in CronTrigger.FIELD_NAMES}
    for name, value in fields.items():
        if value is not None and type(value) not in (int, str):
            raise InvalidTriggerError(
                f"{name!r} of a stored trigger 'cron' must be a text or a number, not {value!r}."
            )
    return CronTrigger(**fields, **entries.bounds())


def _crontab(entries: _Entries) -> BaseTrigger:
    return CrontabTrigger(entries.needed("expression"), **entries.bounds())


def _calendarinterval(entries: _Entries) -> BaseTrigger:
    end = entries.given("end_date")
    return CalendarIntervalTrigger(
        **entries.numbers("years", "months", "weeks", "days", whole=True),
        **entries.numbers("hour", "minute", "second", whole=True),
        start_date=day_from_text(entries.needed("start_date")),
        end_date=None if end is None else day_from_text(end),
        timezone=entries.zone(),
        **entries.jitter(),
    )


def _combined(entries: _Entries, kind: str, decode: Decode, nesting: int) -> BaseTrigger:
    parts = entries.needed("triggers")
    if not isinstance(parts, list) or not parts:
        raise InvalidTriggerError(
            f"'triggers' of a stored trigger {kind!r} must be a list of some."
        )
    return _COMBINING[kind](
        [_any(part, decode, nesting + 1) for part in parts], jitter=entries.jitter().get("jitter")
    )


def _custom(entries: _Entries, reference: str, decode: Decode) -> BaseTrigger:
    state = entries.needed("state")
    entries.check_all_used()
    try:
        kind = resolve(reference)
    except ReferenceNotAllowedError:
        raise
    except InvalidJobError as error:
        raise InvalidTriggerError(f"The class of a stored trigger is wrong: {error}") from error
    if not isinstance(kind, type) or not issubclass(kind, BaseTrigger):
        raise InvalidTriggerError(
            f"{reference!r} is not a trigger class. Name a subclass of APScheduler's BaseTrigger."
        )
    try:
        value = decode(state)
    except ValueError as error:
        raise InvalidTriggerError(
            f"The stored state of the trigger {reference!r} cannot be read: {error}"
        ) from error
    try:
        return _restored(kind, value)
    except Exception as error:  # __new__ and __setstate__ are the user's code
        raise InvalidTriggerError(
            f"The trigger {reference!r} does not take its stored state: {type(error).__name__}. "
            "Let its __setstate__() read what older versions of the class have stored."
        ) from error


def _restored(kind: Any, state: Any) -> BaseTrigger:
    """Return an instance with the state that its __getstate__() gave, as unpickling would."""
    trigger = kind.__new__(kind)
    if hasattr(trigger, "__setstate__"):
        trigger.__setstate__(state)
        return trigger
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    for name, value in {**(attributes or {}), **(slots or {})}.items():
        setattr(trigger, name, value)
    return trigger


_READERS: dict[str, Callable[[_Entries], BaseTrigger]] = {
    "date": _date,
    "interval": _interval,
    "cron": _cron,
    "crontab": _crontab,
    "calendarinterval": _calendarinterval,
}
_COMBINING: dict[str, type[BaseTrigger]] = {"and": BoundedAndTrigger, "or": OrTrigger}
