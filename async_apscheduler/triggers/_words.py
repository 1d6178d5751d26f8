"""Triggers in plain words, for people who look at a list of jobs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from async_apscheduler.conf import get_settings
from async_apscheduler.exceptions import InvalidTriggerError
from async_apscheduler.triggers._combining import BoundedAndTrigger
from async_apscheduler.triggers._cron_words import cron_in_words
from async_apscheduler.triggers._moments import zone_name
from async_apscheduler.triggers.crontab import CrontabTrigger


def describe_trigger(trigger: BaseTrigger) -> str:
    """Return what a trigger does, in words: "every 5 minutes, until 2026-12-31 18:00".

    Its time zone is told only if it is not the TIME_ZONE of the settings. In the language that is
    active, but for crontab lines, which have English words only.
    """
    return _DESCRIPTIONS.get(type(trigger), _custom)(trigger)


def _date(trigger: Any) -> str:
    return _("once, on %(moment)s") % {"moment": _moment_and_zone(trigger.run_date)}


def _interval(trigger: Any) -> str:
    end = [] if trigger.end_date is None else [_until(_moment_and_zone(trigger.end_date))]
    return _joined(_every(trigger.interval), *end, *_jitter(trigger))


def _every(interval: timedelta) -> str:
    for unit, (one, _many) in _UNITS.items():
        if interval == unit:
            return str(one)
    parts = []
    for unit, (_one, many) in _UNITS.items():
        count, interval = divmod(interval, unit)
        if unit == _SECOND and interval:
            fraction = f"{interval.microseconds / 1_000_000:.6f}".rstrip("0")[1:]
            parts.append(_("%(count)s seconds") % {"count": f"{count}{fraction}"})
        elif count:
            parts.append(many % {"count": count})
    return _("every %(periods)s") % {"periods": " ".join(map(str, parts))}


def _crontab(trigger: Any) -> str:
    return _joined(trigger.describe(), *_zone(trigger.timezone), *_bounds(trigger))


def _cron(trigger: Any) -> str:
    return _joined(cron_in_words(trigger), *_zone(trigger.timezone), *_bounds(trigger))


def _calendarinterval(trigger: Any) -> str:
    counts = (trigger.years, trigger.months, trigger.weeks, trigger.days)
    periods = [
        (count, *words) for count, words in zip(counts, _CALENDAR_UNITS, strict=True) if count
    ]
    if [count for count, _one, _many in periods] == [1]:
        every = str(periods[0][1])
    else:
        every = _("every %(periods)s") % {
            "periods": " ".join(str(many % {"count": count}) for count, _one, many in periods)
        }
    hour, minute, second = trigger.__getstate__()["time"]  # it has no public name
    text = _("%(every)s at %(time)s") % {
        "every": every,
        "time": f"{hour:02d}:{minute:02d}" + (f":{second:02d}" if second else ""),
    }
    end = [] if trigger.end_date is None else [_until(trigger.end_date.isoformat())]
    begin = _from(trigger.start_date.isoformat())
    return _joined(text, *_zone(trigger.timezone), begin, *end, *_jitter(trigger))


def _and(trigger: Any) -> str:
    return _joined(_(" and ").join(map(_part, trigger.triggers)), *_jitter(trigger))


def _or(trigger: Any) -> str:
    return _joined(_(" or ").join(map(_part, trigger.triggers)), *_jitter(trigger))


def _part(trigger: BaseTrigger) -> str:
    text = describe_trigger(trigger)
    return f"({text})" if isinstance(trigger, (AndTrigger, OrTrigger)) else text


def _custom(trigger: BaseTrigger) -> str:
    """Return what the trigger says of itself, if its author let it say anything."""
    kind: Any = type(trigger)
    if kind.__str__ is not object.__str__:
        try:
            return str(trigger)
        except Exception:  # the user's code; a list of jobs must not fail for it
            pass  # its name is told instead
    return str(kind.__name__)


def _joined(*parts: str) -> str:
    return ", ".join(parts)


def _bounds(trigger: Any) -> list[str]:
    begin = [] if trigger.start_date is None else [_from(_moment(trigger.start_date))]
    end = [] if trigger.end_date is None else [_until(_moment(trigger.end_date))]
    return [*begin, *end, *_jitter(trigger)]


def _from(moment: str) -> str:
    return _("from %(moment)s on") % {"moment": moment}


def _until(moment: str) -> str:
    return _("until %(moment)s") % {"moment": moment}


def _jitter(trigger: Any) -> list[str]:
    """Return what a jitter does: since APScheduler 3.11 it only delays."""
    if not trigger.jitter:
        return []
    return [_("up to %(seconds)s s later") % {"seconds": f"{trigger.jitter:g}"}]


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment.second else f"{moment:%Y-%m-%d %H:%M}"


def _moment_and_zone(moment: datetime) -> str:
    return " ".join([_moment(moment), *_zone(moment.tzinfo)])


def _zone(zone: Any) -> list[str]:
    try:
        name, usual = zone_name(zone), zone_name(get_settings().time_zone)
    except InvalidTriggerError:
        return [str(zone)]
    return [] if name == usual else [name]


_SECOND = timedelta(seconds=1)
_WEEKS = ngettext_lazy("%(count)s week", "%(count)s weeks", "count")
_DAYS = ngettext_lazy("%(count)s day", "%(count)s days", "count")
_HOURS = ngettext_lazy("%(count)s hour", "%(count)s hours", "count")
_MINUTES = ngettext_lazy("%(count)s minute", "%(count)s minutes", "count")
_SECONDS = ngettext_lazy("%(count)s second", "%(count)s seconds", "count")
_EVERY_WEEK, _EVERY_DAY = gettext_lazy("every week"), gettext_lazy("every day")
_CALENDAR_UNITS = (
    (gettext_lazy("every year"), ngettext_lazy("%(count)s year", "%(count)s years", "count")),
    (gettext_lazy("every month"), ngettext_lazy("%(count)s month", "%(count)s months", "count")),
    (_EVERY_WEEK, _WEEKS),
    (_EVERY_DAY, _DAYS),
)
_UNITS = {
    timedelta(weeks=1): (_EVERY_WEEK, _WEEKS),
    timedelta(days=1): (_EVERY_DAY, _DAYS),
    timedelta(hours=1): (gettext_lazy("every hour"), _HOURS),
    timedelta(minutes=1): (gettext_lazy("every minute"), _MINUTES),
    _SECOND: (gettext_lazy("every second"), _SECONDS),
}
_DESCRIPTIONS: dict[type, Callable[[Any], str]] = {
    DateTrigger: _date,
    IntervalTrigger: _interval,
    CrontabTrigger: _crontab,
    CronTrigger: _cron,
    CalendarIntervalTrigger: _calendarinterval,
    AndTrigger: _and,
    BoundedAndTrigger: _and,
    OrTrigger: _or,
}
