"""Triggers as a project would write its own."""

from __future__ import annotations

from asyncio import CancelledError
from datetime import datetime, timedelta
from typing import Any

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger


class Every(BaseTrigger):  # type: ignore[misc]  # untyped
    """Fires at whole multiples of a period after an anchor; its state is its `__dict__`."""

    def __init__(self, period: timedelta, anchor: datetime) -> None:
        self.period = period
        self.anchor = anchor

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        """Return the first multiple after `previous`, or from `now` on."""
        if previous is not None:
            return self.anchor + ((previous - self.anchor) // self.period + 1) * self.period
        return self.anchor - ((self.anchor - now) // self.period) * self.period


class Slotted(BaseTrigger):  # type: ignore[misc]  # untyped
    """Says itself what its state is."""

    __slots__ = ("moment",)

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        """Return the one moment, once."""
        return self.moment if previous is None else None

    def __getstate__(self) -> dict[str, Any]:
        return {"moment": self.moment}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if set(state) != {"moment"}:
            raise KeyError("moment")
        self.moment = state["moment"]


class EarlyCron(CronTrigger):  # type: ignore[misc]  # untyped
    """Fires a minute before the cron trigger would."""

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        """Return a time of the cron trigger, less a minute."""
        fire: datetime | None = super().get_next_fire_time(previous, now + timedelta(minutes=1))
        return fire and fire - timedelta(minutes=1)


class Stuck(BaseTrigger):  # type: ignore[misc]  # untyped
    """Returns the same time for ever."""

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        """Return the time it was given."""
        return previous or now


class Deaf(BaseTrigger):  # type: ignore[misc]  # untyped
    """Starts at its own beginning whatever the time is, one second after the other."""

    def __init__(self, start: datetime) -> None:
        self.start = start

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        """Return the second after `previous`."""
        return self.start if previous is None else previous + timedelta(seconds=1)


class Broken(BaseTrigger):  # type: ignore[misc]  # untyped
    """Raises."""

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        """Raise."""
        raise ZeroDivisionError("no time left")


class Naive(BaseTrigger):  # type: ignore[misc]  # untyped
    """Forgets the time zone."""

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        """Return a time without a zone."""
        return now.replace(tzinfo=None)


class Finished(BaseTrigger):  # type: ignore[misc]  # untyped
    """Has nothing left."""

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        """Return None."""
        return None


class NotATrigger:
    """A class that a forged row could name."""

    def __init__(self) -> None:
        raise AssertionError("must never be constructed")


FATAL = {error.__name__: error for error in (SystemExit, CancelledError, ValueError)}


class Fatal(BaseTrigger):  # type: ignore[misc]  # untyped
    """Fires every hour, and once it is armed raises what is meant to end a process or a task."""

    is_armed = False
    can_be_restored = True

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __setstate__(self, state: dict[str, Any]) -> None:
        if not self.can_be_restored:
            raise FATAL[state["kind"]]("fatal")
        self.kind = state["kind"]

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        """Return a time, or raise."""
        if self.is_armed:
            raise FATAL[self.kind]("fatal")
        return (previous or now) + timedelta(hours=1)
