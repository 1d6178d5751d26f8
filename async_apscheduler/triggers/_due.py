"""Which fires are due, without stepping through a year of seconds."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import BaseCombiningTrigger
from apscheduler.triggers.interval import IntervalTrigger

from async_apscheduler.exceptions import InvalidTriggerError
from async_apscheduler.triggers._combining import bounded, first_fire_from, next_fire
from async_apscheduler.triggers._moments import in_utc

_TICK = timedelta(microseconds=1)
_MAX_STEPS = 50_000


@dataclass(frozen=True, slots=True)
class DueTimes:
    """The fires of one trigger that are due."""

    last: datetime
    """The latest."""

    recent: list[datetime]
    """The latest ones, oldest first, at most as many as were asked for; the end is `last`."""

    count: int
    """How many there are; for long absences of triggers other than interval, at least how many."""

    next: datetime | None
    """The fire after them, in the future; None if there is none."""


def fire_times(
    trigger: BaseTrigger, first: datetime, now: datetime, *, limit: int = 1000
) -> DueTimes:
    """Return the fires from `first`, which is one and due, up to and including `now`.

    Costs one question to the trigger if `first` is the only one, and about `limit` of them at most,
    however long ago `first` is. Jitter counts for the next fire only: those that were missed are
    reckoned without. Raises InvalidTriggerError if the trigger does not move on.
    """
    if in_utc(first) > in_utc(now):
        raise ValueError(f"The first fire {first.isoformat()} lies after {now.isoformat()}.")
    trigger = bounded(trigger)
    following = next_fire(trigger, first, now)
    if following is None or in_utc(following) > in_utc(now):
        return DueTimes(first, [first], 1, following)
    steady = _without_jitter(trigger)
    if isinstance(steady, IntervalTrigger):
        recent, count = _counted(steady, first, now, limit)
    else:
        recent, count = _walked(steady, first, now, limit)
    return DueTimes(recent[-1], recent, count, next_fire(trigger, recent[-1], now))


def _counted(
    trigger: Any, first: datetime, now: datetime, limit: int
) -> tuple[list[datetime], int]:
    """Return the latest fires of an interval, and how many there are, by arithmetic."""
    start, end = in_utc(first), in_utc(now)
    if trigger.end_date is not None:
        end = min(end, in_utc(trigger.end_date))
    steps = max(0, (end - start) // trigger.interval)
    kept = range(max(0, steps + 1 - limit), steps + 1)
    recent = [(start + n * trigger.interval).astimezone(trigger.timezone) for n in kept]
    return recent, steps + 1


def _walked(
    trigger: BaseTrigger, first: datetime, now: datetime, limit: int
) -> tuple[list[datetime], int]:
    """Return the latest fires and how many were seen, step by step or, if it is far, by a jump."""
    fires, arrived = _steps(trigger, first, now, limit)
    if not arrived and _can_jump(trigger, now):
        last = _last_fire(trigger, first, now)
        return _latest(trigger, first, last, limit), len(fires)
    if not arrived:
        fires, arrived = _steps(trigger, first, now, _MAX_STEPS)
    if not arrived:
        raise InvalidTriggerError(
            f"{trigger} did not get from {first.isoformat()} to {now.isoformat()} within "
            f"{_MAX_STEPS} steps. Let its get_next_fire_time(None, now) return the first fire from "
            "`now` on, or give it a later start."
        )
    return fires[-limit:], len(fires)


def _steps(
    trigger: BaseTrigger, first: datetime, until: datetime, limit: int
) -> tuple[list[datetime], bool]:
    """Return `first` and the fires up to `until`, and True; False if more than `limit` follow."""
    fires = [first]
    while len(fires) <= limit + 1:
        fire = next_fire(trigger, fires[-1], until)
        if fire is None or in_utc(fire) > in_utc(until):
            return fires, True
        fires.append(fire)
    return fires, False


def _can_jump(trigger: BaseTrigger, now: datetime) -> bool:
    """Return True if the trigger finds its first fire from any moment on, not just from its start.

    That of a combining trigger is found part by part.
    """
    if isinstance(trigger, BaseCombiningTrigger):
        return True
    fire = trigger.get_next_fire_time(None, now)
    return fire is None or in_utc(fire) >= in_utc(now)


def _last_fire(trigger: BaseTrigger, first: datetime, until: datetime) -> datetime:
    """Return the last fire up to `until`, found by bisection from `first`, which is one.

    The first fire from a moment on is at or before `until` exactly while the moment is at or before
    the last one.
    """
    low, fire, high = in_utc(first), first, in_utc(until) + _TICK
    back = timedelta(seconds=1)
    while high - low > _TICK:
        half = (high - low) // 2
        # Most often the last fire is near, so look close to the end first, then ever further.
        probe = high - (min(back, half) if back else half)
        found = first_fire_from(trigger, probe.astimezone(until.tzinfo))
        if found is None or in_utc(found) > in_utc(until):
            high, back = probe, back * 4
        else:
            low, fire, back = in_utc(found), found, timedelta(0)
    return fire


def _latest(trigger: BaseTrigger, first: datetime, last: datetime, limit: int) -> list[datetime]:
    """Return the fires up to `last`: `limit` of them, or fewer if that would take too long.

    The stretch that is looked at starts from the distance of the last two, and grows while it holds
    too few.
    """
    recent = [last]
    before = _last_fire(trigger, first, last - _TICK)
    stretch = (in_utc(last) - in_utc(before)) * max(1, limit - 1)
    while len(recent) < limit:
        start = max(in_utc(first), in_utc(last) - stretch)
        found = first if start == in_utc(first) else first_fire_from(trigger, start)
        fires, arrived = _steps(trigger, found or last, last, 4 * limit)
        if not arrived:
            break
        recent = fires[-limit:]
        if start == in_utc(first):
            break
        stretch *= 4
    return recent


def _without_jitter(trigger: Any) -> Any:
    """Return a trigger whose answers can be repeated."""
    if isinstance(trigger, BaseCombiningTrigger):
        return type(trigger)([_without_jitter(part) for part in trigger.triggers])
    if not getattr(trigger, "jitter", None):
        return trigger
    steady = copy.copy(trigger)
    steady.jitter = None
    return steady
