"""The ``and`` of triggers, in bounded time.

APScheduler's AndTrigger asks its parts for the fire after the previous one again and again. Their
answers depend on nothing else, so unless all parts agree at once it never returns: a daily and a
weekly cron hang the scheduler right after their first common fire.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from async_apscheduler.exceptions import InvalidTriggerError
from async_apscheduler.triggers._moments import in_utc, on_the_clock
from async_apscheduler.triggers.crontab import CrontabTrigger

_TICK = timedelta(microseconds=1)
_MAX_TRIES = 1000
_MAX_TIME = timedelta(days=80 * 366)
_JUMP = timedelta(days=41 * 366)
"""Longer than any cron looks for its next day; beyond that a trigger has named the year."""
_MAX_STEPS = 50_000

_FINDS_ANY_TIME = (CronTrigger, CrontabTrigger, IntervalTrigger)
"""Triggers that find the first fire from any time on, when asked without a previous fire."""


class Search:
    """What one search for a common time may cost, all triggers inside the first one included.

    A rare cron looks at each day until one fits, so that the time its parts pass over counts, too.
    """

    def __init__(self) -> None:
        self._tries = 0
        self._passed = timedelta()

    def note(self, whole: Any, earliest: datetime, fire: datetime) -> None:
        """Note that a part of `whole` went from `earliest` to `fire`.

        Raises InvalidTriggerError if all of it together is too much.
        """
        self._tries += 1
        passed = in_utc(fire) - in_utc(earliest)
        if passed < _JUMP:
            self._passed += passed
        if self._tries > _MAX_TRIES or self._passed > _MAX_TIME:
            raise InvalidTriggerError(
                f"The parts of {whole} did not agree on a time within {_MAX_TRIES} tries and "
                f"{_MAX_TIME.days // 366} years. Write them as one cron trigger, or let them fire "
                "at the same time of day."
            )


class BoundedAndTrigger(AndTrigger):  # type: ignore[misc]  # untyped
    """Fires at the times that all its triggers have in common.

    `triggers` and `jitter` are those of APScheduler's AndTrigger. Raises InvalidTriggerError when
    the triggers come to no common time within a thousand tries, or after passing over eighty years.
    """

    __slots__ = ()

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """Return the first common fire after the previous one, or from `now` on."""
        earliest = now if previous_fire_time is None else in_utc(previous_fire_time) + _TICK
        fire = self.first_common(earliest, previous_fire_time, Search())
        return fire and self._apply_jitter(fire, self.jitter, now)

    def first_common(
        self, earliest: datetime, previous: datetime | None, search: Search
    ) -> datetime | None:
        """Return the first common fire from `earliest` on, within what `search` has left."""
        while True:
            fires = []
            for trigger in self.triggers:
                fire = first_fire_from(trigger, earliest, previous, search)
                if fire is None:
                    return None
                search.note(self, earliest, fire)
                fires.append(fire)
            latest = max(fires, key=in_utc)
            if in_utc(latest) == min(map(in_utc, fires)):
                return fires[0]
            earliest = latest


def bounded(trigger: BaseTrigger) -> BaseTrigger:
    """Return `trigger` with every AndTrigger in it made bounded."""
    if not isinstance(trigger, (AndTrigger, OrTrigger)):
        return trigger
    parts = [bounded(part) for part in trigger.triggers]
    kind = BoundedAndTrigger if type(trigger) is AndTrigger else type(trigger)
    if kind is type(trigger) and all(map(_same, parts, trigger.triggers)):
        return trigger
    return kind(parts, jitter=trigger.jitter)


def first_fire_from(
    trigger: BaseTrigger,
    earliest: datetime,
    previous: datetime | None = None,
    search: Search | None = None,
) -> datetime | None:
    """Return the first fire at or after `earliest`; None if there is none.

    `previous` is an earlier fire to start from, for triggers that can only be stepped; `search` is
    the one that this belongs to. Raises InvalidTriggerError for a trigger that does not get there.
    """
    if isinstance(trigger, OrTrigger):
        fires = [first_fire_from(part, earliest, previous, search) for part in trigger.triggers]
        return min((fire for fire in fires if fire is not None), key=in_utc, default=None)
    if isinstance(trigger, BoundedAndTrigger) and search is not None:
        return trigger.first_common(earliest, previous, search)
    if isinstance(trigger, DateTrigger):
        return _not_before(earliest, trigger.run_date)
    if isinstance(trigger, (*_FINDS_ANY_TIME, BoundedAndTrigger)):
        previous = None
    fire = trigger.get_next_fire_time(previous, earliest)
    for _ in range(_MAX_STEPS):
        if fire is None or in_utc(fire) >= in_utc(earliest):
            return fire and on_the_clock(fire)
        fire = next_fire(trigger, fire, earliest)
    raise InvalidTriggerError(
        f"{trigger} cannot find a fire from {earliest.isoformat()} on within {_MAX_STEPS} steps. "
        "Give it a later start."
    )


def next_fire(trigger: BaseTrigger, previous: datetime, now: datetime) -> datetime | None:
    """Return the fire after `previous`. Raises InvalidTriggerError if it is not later.

    APScheduler's cron trigger looks from `now` on if that is earlier than `previous`, and would
    find the same fire again if both are the same.
    """
    started = in_utc(previous)
    if started >= in_utc(now):
        now = started + _TICK
    fire: datetime | None = trigger.get_next_fire_time(on_the_clock(previous), now)
    if fire is None:
        return None
    fire = on_the_clock(fire)
    if in_utc(fire) <= started:
        raise InvalidTriggerError(
            f"{trigger} returned {fire.isoformat()} as the fire after {previous.isoformat()}; a "
            "trigger must move on. Correct its get_next_fire_time()."
        )
    return fire


def _not_before(earliest: datetime, moment: datetime) -> datetime | None:
    return moment if in_utc(moment) >= in_utc(earliest) else None


def _same(one: Any, other: Any) -> bool:
    return one is other
