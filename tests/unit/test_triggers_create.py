"""Triggers from APScheduler's words, and whether they will ever fire."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from async_apscheduler.exceptions import InvalidTriggerError
from async_apscheduler.triggers import (
    MINIMUM_INTERVAL,
    BoundedAndTrigger,
    CrontabTrigger,
    check_trigger,
    create_trigger,
)
from tests.testapp.triggers import Broken, Deaf, Every, Finished, Naive, Slotted, Stuck

HELSINKI = ZoneInfo("Europe/Helsinki")
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by one each time APScheduler's cron looks at a field.

    A bound on the work, which a bound on the time would only guess at.
    """
    from apscheduler.triggers.cron.fields import BaseField

    counted: list[int] = []
    original: Callable[..., Any] = BaseField.get_next_value

    def counting(self: Any, date: Any) -> Any:
        counted.append(1)
        return original(self, date)

    monkeypatch.setattr(BaseField, "get_next_value", counting)
    return counted


@pytest.mark.parametrize(
    ("alias", "arguments", "kind"),
    [
        (None, {}, DateTrigger),
        ("date", {"run_date": "2026-01-01"}, DateTrigger),
        ("interval", {"minutes": 5}, IntervalTrigger),
        ("cron", {"hour": 3}, CronTrigger),
        ("crontab", {"expression": "30 3 * * mon-fri"}, CrontabTrigger),
        ("calendarinterval", {"days": 1}, CalendarIntervalTrigger),
        ("and", {"triggers": [CronTrigger(hour=3)]}, AndTrigger),
        ("or", {"triggers": (CronTrigger(hour=3),), "jitter": 5}, OrTrigger),
    ],
)
def test_an_alias_makes_its_trigger_in_the_given_zone(
    alias: str | None, arguments: dict[str, Any], kind: type[BaseTrigger]
) -> None:
    """APScheduler's aliases, and crontab."""
    trigger = create_trigger(alias, arguments, timezone=HELSINKI)

    assert isinstance(trigger, kind)
    zone = (
        trigger.run_date.tzinfo if kind is DateTrigger else getattr(trigger, "timezone", HELSINKI)
    )
    assert zone == HELSINKI


@pytest.mark.parametrize("zone", ["America/New_York", ZoneInfo("America/New_York")])
def test_a_zone_among_the_arguments_wins(zone: Any) -> None:
    """As a name or as an object."""
    arguments = {"hour": 3, "timezone": zone}

    assert create_trigger("cron", arguments, timezone=UTC).timezone == ZoneInfo("America/New_York")
    assert arguments["timezone"] is zone  # the declaration that holds them is not changed


def test_no_trigger_means_once_and_at_once() -> None:
    """As in APScheduler's add_job."""
    before = datetime.now(UTC)

    trigger = create_trigger(None, {}, timezone=HELSINKI)

    assert before <= trigger.run_date <= datetime.now(UTC)


def test_a_trigger_is_taken_as_it_is() -> None:
    """Its own zone stays."""
    trigger = CronTrigger(hour=3, timezone="UTC")

    assert create_trigger(trigger, {}, timezone=HELSINKI) is trigger


@pytest.mark.parametrize(
    ("trigger", "arguments", "complaint"),
    [
        ("corn", {}, "There is no trigger 'corn'; did you mean 'cron'?"),
        ("Interval", {}, "did you mean 'interval'?"),
        ("zzz", {}, "known are date, interval, cron, crontab, calendarinterval, and, or."),
        (5, {}, "must be an alias such as 'cron' or a trigger of APScheduler, not 5"),
        (CronTrigger(hour=3), {"hour": 4}, "hour have no effect beside a trigger object"),
        ("interval", {"minute": 5}, "'minute' is not an argument of the trigger 'interval'; did "),
        ("crontab", {"hour": 5}, "known are expression, timezone, start_date, end_date, jitter."),
        ("crontab", {}, "missing 1 required positional argument: 'expression'"),
        ("crontab", {"expression": "* *"}, "has 2 fields"),
        ("cron", {"hour": 25}, "Error validating expression '25'"),
        ("cron", {"timezone": "Mars"}, "No time zone found with key Mars"),
        ("cron", {"timezone": "Europe"}, "The arguments of the trigger 'cron' are wrong"),
        ("cron", {"timezone": 5}, "Expected tzinfo"),
        ("cron", {"start_date": "soon"}, "Invalid date string"),
        ("interval", {"minutes": "5"}, "The arguments of the trigger 'interval' are wrong"),
        ("interval", {"weeks": 10**20}, "The arguments of the trigger 'interval' are wrong"),
        ("interval", {"minutes": 5, "jitter": -1}, "must be a number of seconds, not -1"),
        ("interval", {"minutes": 5, "jitter": "1"}, "must be a number of seconds, not '1'"),
        ("date", {"run_date": 5}, "Unsupported type for run_date"),
        ("calendarinterval", {}, "interval must be at least 1 day long"),
        ("and", {}, "takes triggers=[...]"),
        ("and", {"triggers": []}, "takes triggers=[...]"),
        ("or", {"triggers": ["cron"]}, "takes triggers=[...]"),
        ("or", {"triggers": CronTrigger(hour=3)}, "takes triggers=[...]"),
    ],
)
def test_wrong_words_are_refused_with_a_clear_text(
    trigger: Any, arguments: dict[str, Any], complaint: str
) -> None:
    """One kind of error, whatever the class of the trigger raises."""
    with pytest.raises(InvalidTriggerError) as caught:
        create_trigger(trigger, arguments, timezone=UTC)

    assert complaint in str(caught.value)


def at(text: str, zone: Any = HELSINKI) -> datetime:
    """Return a moment on the wall clock of a zone."""
    return datetime.fromisoformat(text).replace(tzinfo=zone)


@pytest.mark.parametrize(
    ("trigger", "first"),
    [
        (DateTrigger("2020-01-01", timezone=HELSINKI), at("2020-01-01")),
        (IntervalTrigger(hours=1, start_date="2026-01-01", timezone=UTC), NOW),
        (CronTrigger(hour=3, timezone=HELSINKI), at("2026-11-25T03:00")),
        (CrontabTrigger("0 3 * * *", timezone=HELSINKI), at("2026-11-25T03:00")),
        (
            CalendarIntervalTrigger(days=7, hour=3, start_date="2026-01-01", timezone=HELSINKI),
            at("2026-11-26T03:00"),
        ),
        (Slotted(at("2027-01-01")), at("2027-01-01")),
        (Every(timedelta(minutes=7), NOW), NOW),
        (
            OrTrigger([CronTrigger(hour=3, timezone=UTC), CronTrigger(hour=2, timezone=UTC)]),
            at("2026-11-25T02:00", UTC),
        ),
        # Rare, but possible: in 28 or, around a year like 2100, 40 years.
        (CrontabTrigger("0 0 29 2 */7", timezone=UTC), at("2032-02-29", UTC)),
        (CronTrigger(month=2, day=29, day_of_week="sat", timezone=UTC), at("2048-02-29", UTC)),
        (
            CronTrigger(month=2, day="5th mon", start_date="2072-03-01", timezone=UTC),
            at("2112-02-29", UTC),
        ),
        (CronTrigger(year=2400, month=2, day=29, timezone=UTC), at("2400-02-29", UTC)),
        (CronTrigger(week=53, day_of_week="sun", timezone=UTC), at("2027-01-03", UTC)),
        (CronTrigger(month=1, week=53, day_of_week="thu,fri", timezone=UTC), at("2027-01-01", UTC)),
    ],
    ids=str,
)
def test_the_first_fire_is_found(trigger: BaseTrigger, first: datetime) -> None:
    """From now on; a date that has passed is due at once."""
    assert check_trigger(trigger, now=NOW) == first


IMPOSSIBLE = [
    CronTrigger(month=2, day=30, timezone=HELSINKI),
    CronTrigger(month="4,6,9,11", day=31, timezone=HELSINKI),
    CronTrigger(month="1-6", week=40, timezone=HELSINKI),
    CronTrigger(month=2, week="20-30", day_of_week="mon", timezone=HELSINKI),
    CronTrigger(day=1, week=53, month="2-12", timezone=HELSINKI),
    CronTrigger(year="*/100", month=2, day=29, timezone=HELSINKI),
    CronTrigger(month=2, day="5th mon", year="2025-2027", timezone=HELSINKI),
    OrTrigger([CronTrigger(hour=3), CronTrigger(month=2, day=30)]),
    AndTrigger([CronTrigger(hour=3), CronTrigger(month=2, day=30)]),
]


@pytest.mark.parametrize("trigger", IMPOSSIBLE, ids=str)
def test_a_cron_trigger_that_no_day_fits_is_refused_after_little_work(
    trigger: BaseTrigger, calls: list[int]
) -> None:
    """APScheduler itself would look at every year up to 9999, some of them day by day."""
    with pytest.raises(InvalidTriggerError, match="can never fire: no day of any year fits it"):
        check_trigger(trigger, now=NOW)

    assert len(calls) < 25_000


@pytest.mark.parametrize(
    ("trigger", "complaint"),
    [
        (CronTrigger(year=2020, timezone=HELSINKI), "never fires from 2026-11-24"),
        (CrontabTrigger("0 0 */31 * 1#2", timezone=HELSINKI), "never fires from 2026-11-24"),
        (
            CronTrigger(hour=3, start_date="2027-02-01", end_date="2027-01-01", timezone=UTC),
            "it ends (2027-01-01T00:00:00+00:00) before it starts (2027-02-01",
        ),
        (
            CrontabTrigger("@daily", start_date="2020-02-01", end_date="2020-01-01", timezone=UTC),
            "before it starts",
        ),
        (
            IntervalTrigger(hours=1, start_date="2027-02-01", end_date="2027-01-01", timezone=UTC),
            "before it starts",
        ),
        (
            AndTrigger([CronTrigger(second=0, timezone=UTC), CronTrigger(second=30, timezone=UTC)]),
            "did not agree on a time within 1000 tries",
        ),
        (
            AndTrigger([CronTrigger(hour=3, jitter=5), CronTrigger(day=1)]),
            "Give the jitter to the 'and' trigger",
        ),
        (
            CalendarIntervalTrigger(days=-1, start_date="2026-01-01", timezone=UTC),
            "must step forward",
        ),
        (
            CalendarIntervalTrigger(years=8000, start_date="2026-01-01", timezone=UTC),
            "by a thousand years at most",
        ),
        (Broken(), "fails with ZeroDivisionError: no time left"),
        (Stuck(), "a trigger must move on"),
        (Naive(), "must return an aware datetime or None"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_trigger_that_never_fires_or_misbehaves_is_refused(
    trigger: BaseTrigger, complaint: str
) -> None:
    """Here, where somebody reads it, and not in the scheduler."""
    with pytest.raises(InvalidTriggerError) as caught:
        check_trigger(trigger, now=NOW)

    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "trigger",
    [
        CronTrigger(hour=3, end_date="2026-01-01", timezone=UTC),
        CronTrigger(day=31, start_date="2026-01-01", end_date="2026-11-30", timezone=UTC),
        CrontabTrigger("@daily", end_date="2026-01-01", timezone=UTC),
        IntervalTrigger(hours=1, start_date="2025-01-01", end_date="2026-01-01", timezone=UTC),
        IntervalTrigger(hours=1, start_date=NOW + timedelta(hours=1), end_date=NOW, timezone=UTC),
        CalendarIntervalTrigger(
            days=1, start_date="2025-01-01", end_date="2026-01-01", timezone=UTC
        ),
        OrTrigger([CronTrigger(hour=3, end_date="2026-01-01", timezone=UTC)]),
        Finished(),
    ],
    ids=str,
)
def test_a_trigger_whose_end_has_passed_has_no_first_fire(trigger: BaseTrigger) -> None:
    """That is no mistake: a declared job outlives its end in the code."""
    assert check_trigger(trigger, now=NOW) is None


@pytest.mark.parametrize(
    "wrap", [lambda part: part, lambda part: OrTrigger([part]), lambda part: AndTrigger([part])]
)
def test_an_interval_may_not_be_too_short(wrap: Callable[[BaseTrigger], BaseTrigger]) -> None:
    """A scheduler would do nothing else; also not inside another trigger."""
    short = IntervalTrigger(seconds=0.0099, timezone=UTC)
    shortest = IntervalTrigger(seconds=MINIMUM_INTERVAL.total_seconds(), timezone=UTC)

    assert check_trigger(wrap(shortest), now=NOW) is not None
    with pytest.raises(InvalidTriggerError, match=r"the shortest is 0\.01 s"):
        check_trigger(wrap(short), now=NOW)


def test_a_part_that_can_only_be_stepped_is_left_after_so_many_steps() -> None:
    """Seconds since long ago, one at a time, would hold up the scheduler."""
    trigger = AndTrigger([Deaf(NOW - timedelta(days=365)), CronTrigger(hour=3, timezone=UTC)])

    with pytest.raises(InvalidTriggerError, match=r"within 50000 steps. Give it a later start"):
        check_trigger(trigger, now=NOW)


@pytest.mark.parametrize(
    "trigger",
    [
        AndTrigger([CronTrigger(week=53, day_of_week="sun"), CronTrigger(month=2)]),
        AndTrigger([CronTrigger(month=2, day=29), CronTrigger(month=3, day=1)]),
        AndTrigger([CronTrigger(week=53, day_of_week="mon"), CronTrigger(month=1, day=1)]),
        AndTrigger([AndTrigger([CronTrigger(hour=3), CronTrigger()]), CronTrigger(hour=4)]),
        AndTrigger([OrTrigger([CronTrigger(hour=3), CronTrigger(hour=5)]), CronTrigger(hour=4)]),
    ],
    ids=str,
)
def test_parts_that_never_agree_are_refused_after_little_work(
    trigger: BaseTrigger, calls: list[int]
) -> None:
    """However rarely they fire, and however they are nested: one search has one limit."""
    with pytest.raises(InvalidTriggerError, match=r"did not agree on a time within 1000"):
        check_trigger(trigger, now=NOW)

    assert len(calls) < 100_000


@pytest.mark.parametrize(("kind", "most"), [(OrTrigger, 500), (AndTrigger, 20)])
def test_a_trigger_is_made_of_so_many_others_at_most(kind: Any, most: int) -> None:
    """Each of them is asked at each fire; those that are nested count as well."""
    part = CronTrigger(second="*", timezone=UTC)

    assert check_trigger(kind([part] * most), now=NOW) is not None
    with pytest.raises(InvalidTriggerError, match=f"made of {most + 1} others; at most {most}"):
        check_trigger(kind([part, OrTrigger([part] * most)]), now=NOW)


def test_the_and_of_two_crons_moves_on_after_its_first_fire() -> None:
    """APScheduler's own would ask them the same for ever."""
    trigger = BoundedAndTrigger(
        [CronTrigger(hour="*/6", timezone=UTC), CronTrigger(day_of_week="tue", hour=12)],
        jitter=None,
    )
    trigger.triggers[1].timezone = UTC

    first = check_trigger(trigger, now=NOW)
    second = trigger.get_next_fire_time(first, NOW)

    assert first == NOW
    assert second == NOW + timedelta(days=7)


def test_an_and_works_with_intervals_and_calendar_steps() -> None:
    """Each part is stepped in its own way to the first moment that all have."""
    trigger = BoundedAndTrigger(
        [
            IntervalTrigger(hours=9, start_date="2026-01-01", timezone=UTC),
            CalendarIntervalTrigger(days=2, hour=9, start_date="2026-01-01", timezone=UTC),
            OrTrigger([CronTrigger(hour=9, timezone=UTC), DateTrigger(NOW)]),
        ]
    )

    first = trigger.get_next_fire_time(None, at("2026-01-01T10:00", UTC))
    second = trigger.get_next_fire_time(first, at("2026-01-01T10:00", UTC))

    # Hours since the start: multiples of 9, and 9 more than a multiple of 48.
    assert first == at("2026-01-07T09:00", UTC)
    assert second == at("2026-01-13T09:00", UTC)


def test_an_and_ends_with_the_first_of_its_parts() -> None:
    """None, when one has nothing left."""
    trigger = BoundedAndTrigger(
        [
            CronTrigger(hour=3, timezone=UTC, end_date="2026-11-25"),
            CronTrigger(hour=3, timezone=UTC),
        ]
    )

    assert trigger.get_next_fire_time(None, NOW) is None
