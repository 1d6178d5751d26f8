"""The ``crontab`` trigger: the five fields of a crontab line, meant as cron means them.

Weekdays count from Sunday (0 or 7), day-of-month and weekday are alternatives when both are given,
and at clock changes the rules of Debian's cron(8) hold: a job at a fixed time runs once, even if
its time is skipped or comes twice; one with a star in the minute or the hour follows the clock.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Any

from apscheduler.triggers.base import BaseTrigger
from apscheduler.util import astimezone, convert_to_datetime
from cronsim import CronSim, CronSimError

from async_apscheduler.conf import get_settings
from async_apscheduler.exceptions import InvalidTriggerError
from async_apscheduler.triggers._moments import in_utc

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_TICK = timedelta(microseconds=1)
_SOME_DAY = datetime(2000, 1, 1)


class CrontabTrigger(BaseTrigger):  # type: ignore[misc]  # untyped
    """Fires when a crontab line says so.

    `expression` is minute, hour, day of month, month and weekday, or one of `NICKNAMES`. `timezone`
    is a zone or its name; by default that of `start_date` or `end_date`, else the TIME_ZONE of the
    settings. `start_date` and `end_date` bound the fires, inclusive. Each fire is delayed by up to
    `jitter` seconds. Raises InvalidTriggerError, ZoneInfoNotFoundError.
    """

    __slots__ = ("end_date", "expression", "jitter", "start_date", "timezone")

    def __init__(
        self,
        expression: str,
        timezone: tzinfo | str | None = None,
        start_date: datetime | str | None = None,
        end_date: datetime | str | None = None,
        jitter: float | None = None,
    ) -> None:
        self.expression = _checked(expression)
        zone = timezone or _zone_of(start_date) or _zone_of(end_date) or get_settings().time_zone
        self.timezone = astimezone(zone)
        self.start_date = convert_to_datetime(start_date, self.timezone, "start_date")
        self.end_date = convert_to_datetime(end_date, self.timezone, "end_date")
        self.jitter = jitter

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """Return the first fire after the previous one, or from `now` on if there is none."""
        after = in_utc(now) - _TICK if previous_fire_time is None else in_utc(previous_fire_time)
        if self.start_date is not None:
            after = max(after, in_utc(self.start_date) - _TICK)
        fire = self._next_after(after)
        if fire is None or (self.end_date is not None and fire > in_utc(self.end_date)):
            return None
        fire = self._apply_jitter(fire, self.jitter, now)
        if self.end_date is not None:
            fire = min(fire, in_utc(self.end_date))
        return fire.astimezone(self.timezone)  # type: ignore[no-any-return]  # untyped

    def describe(self) -> str:
        """Return the expression in English: "At 03:30 on Monday through Friday"."""
        return explain(_five_fields(self.expression))

    def _next_after(self, after: datetime) -> datetime | None:
        """Return, in UTC, the first fire after a moment; None if there is none in 50 years.

        The search looks at the clock on the wall, so in the hour after the clocks were set back it
        first finds the times that have passed already.
        """
        local = after.astimezone(self.timezone)
        for found in CronSim(_five_fields(self.expression), local):
            fire = in_utc(found)
            if fire > after:
                return fire
        return None

    def __getstate__(self) -> dict[str, Any]:
        return {
            "version": 1,
            "expression": self.expression,
            "timezone": self.timezone,
            "start_date": self.start_date,
            "end_date": self.end_date,
            "jitter": self.jitter,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state.get("version", 1) > 1:
            raise ValueError(
                f"This CrontabTrigger was stored by a newer release (version {state['version']} of "
                "its state; known is 1). Upgrade async-apscheduler."
            )
        self.expression = state["expression"]
        self.timezone = state["timezone"]
        self.start_date = state["start_date"]
        self.end_date = state["end_date"]
        self.jitter = state["jitter"]

    def __str__(self) -> str:
        return f"crontab[{self.expression}]"

    def __repr__(self) -> str:
        return f"<CrontabTrigger ({self.expression!r}, timezone='{self.timezone}')>"


def explain(fields: str) -> str:
    """Return a crontab line of five fields in English, without a capital, as other triggers.

    cronsim knows the ordinals up to the ninth only; so its "21th" is made "21st".
    """
    text = CronSim(fields, _SOME_DAY).explain()
    text = text[:1].lower() + text[1:]
    for digit, ending in (("1", "st"), ("2", "nd"), ("3", "rd")):
        for ten in "2345":
            text = text.replace(f"{ten}{digit}th", f"{ten}{digit}{ending}")
    return text


def _checked(expression: object) -> str:
    if not isinstance(expression, str):
        raise InvalidTriggerError(
            f"A crontab expression must be a text such as '30 3 * * mon-fri', not {expression!r}."
        )
    text = " ".join(expression.split())
    fields = _five_fields(text)
    if fields.startswith("@"):
        raise InvalidTriggerError(
            f"The crontab nickname {text!r} is unknown. Known are {', '.join(NICKNAMES)}."
        )
    if (count := len(fields.split())) != 5:
        raise InvalidTriggerError(
            f"The crontab expression {text!r} has {count} fields instead of 5: minute, hour, day "
            "of month, month and weekday."
        )
    try:
        CronSim(fields, _SOME_DAY)
    except CronSimError as error:
        raise InvalidTriggerError(
            f"The crontab expression {text!r} cannot be used: {str(error)[:1].lower()}"
            f"{str(error)[1:]}. Correct that field, or choose a day that its months have."
        ) from None
    return text


def _five_fields(expression: str) -> str:
    return NICKNAMES.get(expression.lower(), expression)


def _zone_of(moment: object) -> tzinfo | None:
    return moment.tzinfo if isinstance(moment, datetime) else None
