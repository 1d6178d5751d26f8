"""What the code says of one job: its columns, its trigger, and whether it will fire again.

Nothing here asks the database, so that all of it is known before a row is locked.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from async_apscheduler import triggers
from async_apscheduler.conf import get_settings
from async_apscheduler.exceptions import InvalidJobError, InvalidTriggerError
from async_apscheduler.models.loading import trigger_json
from async_apscheduler.models.scheduling import first_run_time, job_values, triggers_agree
from async_apscheduler.registry import UNSET, Declaration

DECLARED_FIELDS = (
    "name",
    "func",
    "args",
    "kwargs",
    "executor",
    "coalesce",
    "max_instances",
    "misfire_grace_time",
    "timeout",
    "max_attempts",
    "retry_delay",
    "retry_on_lost",
)
"""Columns that follow the code; the trigger does too, with rules of its own."""

MADE_UP = {"date": "run_date", "interval": "start_date", "calendarinterval": "start_date"}
"""What a trigger sets to the moment or the day of its construction, if it was not given."""

LONGEST_START = timedelta(hours=1)
"""How long before it is looked at here a trigger object of a module may have been made."""

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

_STAND_IN = DateTrigger(LONG_AGO, timezone=UTC)
"""In the place of the trigger where columns are made: an unchanged job's may well be over."""


class DeclaredJob:
    """A declaration, ready to be compared with its row.

    A date that has passed since `began_at`, when the comparison began, is still to come. Raises
    InvalidJobError for what cannot be stored.
    """

    def __init__(self, declaration: Declaration, *, began_at: datetime) -> None:
        self.id = declaration.id
        self._declaration = declaration
        self._began_at = began_at
        try:
            self._trigger = _created(declaration.trigger, dict(declaration.trigger_args))
            self.values = self._columns()
        except InvalidJobError as error:
            raise self._named(error) from error

    @cached_property
    def snapshot(self) -> dict[str, Any]:
        """What the code says, as JSON that compares equal while the code stays the same."""
        said = {name: self.values[name] for name in DECLARED_FIELDS}
        trigger = _without_made_up(self._declaration, self._trigger, self.values["trigger"])
        return {**said, "trigger": trigger}

    @cached_property
    def first_run_time(self) -> datetime | None:
        """The first fire that does not lie behind; None if there is none any more.

        Raises InvalidTriggerError if the trigger can never have fired either.
        """
        try:
            return self._first_fire()
        except InvalidTriggerError as error:
            raise self._named(error) from error

    @property
    def is_over(self) -> bool:
        """True if a new row would have nothing to wait for. Raises InvalidTriggerError."""
        given = self.values["next_run_time"]
        return self.first_run_time is None and (given is None or given < self._began_at)

    def new_row(self) -> dict[str, Any]:
        """Return all columns of the job's row, for a job that is not over."""
        values = dict(self.values)
        if self._declaration.options.get("next_run_time", UNSET) is UNSET:
            values.update(next_run_time=self.first_run_time, status="scheduled")
        return {**values, "source": "declared", "declaration": self.snapshot}

    def changes(self, row: Any) -> dict[str, Any]:
        """Return the columns that changed in the code since the row was last brought in line."""
        before = row.declaration or {}
        changed = {
            name: self.values[name]
            for name in DECLARED_FIELDS
            if self.snapshot[name] != before.get(name, UNSET)
            and self.values[name] != getattr(row, name)
        }
        if self.snapshot["trigger"] != before.get("trigger") and not self._has_trigger(row):
            changed["trigger"] = self.values["trigger"]
        return changed

    def _columns(self) -> dict[str, Any]:
        options = dict(self._declaration.options)
        given = options.pop("next_run_time", UNSET)
        values = job_values(
            self._declaration.func,
            _STAND_IN,
            id=self.id,
            args=self._declaration.args,
            kwargs=self._declaration.kwargs,
            next_run_time=None if given is UNSET else given,
            **options,
        )
        return {**values, "trigger": trigger_json(self._trigger)}

    def _first_fire(self) -> datetime | None:
        now = datetime.now(UTC)
        try:
            first = first_run_time(self._trigger, now)
        except InvalidTriggerError:
            if not _may_have_fired(self._trigger):
                raise
            return None
        if first is None or first >= self._began_at:
            return first
        # A date is returned even if it has passed; so is one among the parts of `or`.
        return triggers.fire_times(self._trigger, first, now, limit=1).next

    def _has_trigger(self, row: Any) -> bool:
        """Return True if the row has this very trigger, by whatever way it came there."""
        own = self.values["trigger"]
        exact_start = "triggers" in own or self.snapshot["trigger"] == own
        return triggers_agree(row.trigger, own, exact_start=exact_start)

    def _named(self, error: InvalidJobError) -> InvalidJobError:
        return type(error)(
            f"The job {self.id!r}, declared for {self._declaration.reference}, cannot be "
            f"scheduled. {error}"
        )


def _created(trigger: str | BaseTrigger, words: dict[str, Any]) -> BaseTrigger:
    zone = get_settings().time_zone
    try:
        return triggers.create_trigger(trigger, words, timezone=zone)
    except InvalidTriggerError:
        if trigger != "calendarinterval" or words.get("start_date") is not None:
            raise
        # Upstream begins today and refuses an end before that, but such a job is only over.
        words["start_date"] = words.get("end_date")
        return triggers.create_trigger(trigger, words, timezone=zone)


def _may_have_fired(trigger: BaseTrigger) -> bool:
    """Return True for a trigger like ``cron(year=2025)``, which is right, but over."""
    try:
        return first_run_time(trigger, LONG_AGO) is not None
    except InvalidTriggerError:
        return False


def _without_made_up(
    declaration: Declaration, trigger: BaseTrigger, data: dict[str, Any]
) -> dict[str, Any]:
    """Return the trigger's JSON without a start that the code does not give.

    It differs at each start of the program, and must not count as a change of the code.
    """
    if not isinstance(declaration.trigger, str) or "triggers" in data:
        return _without_recent_start(trigger, data)
    start = MADE_UP.get(declaration.trigger)
    if start is None or declaration.trigger_args.get(start) is not None:
        return data
    return {name: value for name, value in data.items() if name != start}


def _without_recent_start(trigger: Any, data: dict[str, Any]) -> dict[str, Any]:
    """Do so for a trigger object, which does not tell what it was given."""
    if "triggers" in data:
        parts = zip(trigger.triggers, data["triggers"], strict=True)
        return {**data, "triggers": [_without_recent_start(*part) for part in parts]}
    if not _seems_made_up(trigger, data):
        return data
    return {name: value for name, value in data.items() if name != "start_date"}


def _seems_made_up(trigger: Any, data: dict[str, Any]) -> bool:
    """Return True if a start is what it would be, had the trigger been made a while ago without."""
    if isinstance(trigger, IntervalTrigger):
        start: datetime = trigger.start_date
        age: timedelta = trigger.interval - (start - datetime.now(start.tzinfo))
        # People write whole seconds; a clock hardly ever shows them.
        return start.microsecond > 0 and timedelta(0) <= age <= LONGEST_START
    if isinstance(trigger, CalendarIntervalTrigger):
        now = datetime.now()  # upstream's start is the day on the wall where the process runs
        return (now - LONGEST_START).date() <= date.fromisoformat(data["start_date"]) <= now.date()
    return False
