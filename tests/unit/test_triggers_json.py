"""Triggers as readable JSON: what is written, and that it fires as before."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from django.test import override_settings

from async_apscheduler.codec import decode_value, encode_value
from async_apscheduler.exceptions import (
    InvalidTriggerError,
    ReferenceNotAllowedError,
    TamperedValueError,
)
from async_apscheduler.triggers import (
    BoundedAndTrigger,
    CrontabTrigger,
    trigger_from_json,
    trigger_to_json,
)
from tests.testapp.triggers import EarlyCron, Every, Slotted

HELSINKI = ZoneInfo("Europe/Helsinki")
START = datetime(2026, 1, 1, 8, 30, 0, 123456, tzinfo=HELSINKI)
END = datetime(2027, 1, 1, tzinfo=HELSINKI)
START_TEXT, END_TEXT = "2026-01-01T08:30:00.123456+02:00", "2027-01-01T00:00:00+02:00"
ZONE = {"timezone": "Europe/Helsinki"}

encode = partial(encode_value, name="the state of the trigger")


def round_trip(trigger: BaseTrigger) -> Any:
    """Send a trigger through the text that a database would keep."""
    return trigger_from_json(
        json.loads(json.dumps(trigger_to_json(trigger, encode=encode))), decode=decode_value
    )


def restore(data: Any) -> Any:
    """Read a trigger from JSON that somebody may have edited."""
    return trigger_from_json(data, decode=decode_value)


def fires(trigger: BaseTrigger, start: datetime, count: int = 20) -> list[str]:
    """Return the first fires from a moment on, to the microsecond, with offset and zone."""
    found, previous = [], None
    for _ in range(count):
        previous = trigger.get_next_fire_time(previous, previous or start)
        if previous is None:
            break
        found.append(f"{previous.isoformat()} fold={previous.fold} {previous.tzinfo}")
    return found


FORMS: list[tuple[BaseTrigger, dict[str, Any]]] = [
    (DateTrigger(START), {"type": "date", "run_date": START_TEXT, **ZONE}),
    (
        DateTrigger(datetime(2026, 1, 1, tzinfo=UTC)),
        {"type": "date", "run_date": "2026-01-01T00:00:00+00:00"},
    ),
    (
        DateTrigger(datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2)))),
        {"type": "date", "run_date": "2026-01-01T00:00:00+02:00"},
    ),
    (
        DateTrigger(datetime(2026, 10, 25, 3, 30, tzinfo=HELSINKI, fold=1)),
        {"type": "date", "run_date": "2026-10-25T03:30:00+02:00", **ZONE},
    ),
    (
        DateTrigger(datetime(2026, 10, 25, 3, 30, tzinfo=HELSINKI)),
        {"type": "date", "run_date": "2026-10-25T03:30:00+03:00", **ZONE},
    ),
    (
        DateTrigger(datetime(2026, 3, 29, 3, 30, tzinfo=HELSINKI)),  # skipped by the clock
        {"type": "date", "run_date": "2026-03-29T03:30:00+02:00", **ZONE},
    ),
    (
        IntervalTrigger(minutes=5, start_date=START, timezone=HELSINKI),
        {"type": "interval", "minutes": 5, "start_date": START_TEXT, **ZONE},
    ),
    (
        IntervalTrigger(
            weeks=2, days=1, hours=25, minutes=61, seconds=61.5, start_date=START, end_date=END
        ),
        {
            "type": "interval",
            "weeks": 2,
            "days": 2,
            "hours": 2,
            "minutes": 2,
            "seconds": 1.5,
            "start_date": START_TEXT,
            "end_date": END_TEXT,
            **ZONE,
        },
    ),
    (
        IntervalTrigger(seconds=0.010001, start_date=START, timezone="UTC"),
        {"type": "interval", "seconds": 0.010001, "start_date": START_TEXT, "timezone": "UTC"},
    ),
    (
        IntervalTrigger(days=1, start_date=START, timezone=timezone(timedelta(hours=-3.5))),
        {"type": "interval", "days": 1, "start_date": START_TEXT, "timezone": "-03:30"},
    ),
    (
        CronTrigger(hour=3, timezone=HELSINKI),
        {"type": "cron", "hour": "3", **ZONE},
    ),
    (
        CronTrigger(hour="3", minute="0", timezone=HELSINKI),
        {"type": "cron", "hour": "3", "minute": "0", **ZONE},
    ),
    (
        CronTrigger(month="jan,3-5", day="last", hour="*/4,7", timezone=HELSINKI, end_date=END),
        {
            "type": "cron",
            "month": "jan,3-5",
            "day": "last",
            "hour": "*/4,7",
            "end_date": END_TEXT,
            **ZONE,
        },
    ),
    (
        CronTrigger(
            day="1st mon,last fri,20-25/2", second="5/10", timezone=HELSINKI, start_date=START
        ),
        {
            "type": "cron",
            "day": "1st mon,last fri,20-25/2",
            "second": "5/10",
            "start_date": START_TEXT,
            **ZONE,
        },
    ),
    (
        CronTrigger(year="2026-2030", week="*/3", day_of_week="mon-fri", timezone="UTC"),
        {
            "type": "cron",
            "year": "2026-2030",
            "week": "*/3",
            "day_of_week": "mon-fri",
            "timezone": "UTC",
        },
    ),
    (
        CrontabTrigger("30 3 * * mon-fri", timezone=HELSINKI),
        {"type": "crontab", "expression": "30 3 * * mon-fri", **ZONE},
    ),
    (
        CrontabTrigger("@daily", timezone=HELSINKI, start_date=START, end_date=END, jitter=0),
        {
            "type": "crontab",
            "expression": "@daily",
            "jitter": 0,
            "start_date": START_TEXT,
            "end_date": END_TEXT,
            **ZONE,
        },
    ),
    (
        CalendarIntervalTrigger(
            years=1,
            months=2,
            weeks=3,
            days=4,
            hour=5,
            minute=6,
            second=7,
            start_date="2026-01-31",
            end_date=date(2036, 1, 1),
            timezone=HELSINKI,
        ),
        {
            "type": "calendarinterval",
            "years": 1,
            "months": 2,
            "weeks": 3,
            "days": 4,
            "hour": 5,
            "minute": 6,
            "second": 7,
            "start_date": "2026-01-31",
            "end_date": "2036-01-01",
            **ZONE,
        },
    ),
    (
        CalendarIntervalTrigger(months=1, start_date=START, timezone=HELSINKI),
        {"type": "calendarinterval", "months": 1, "start_date": "2026-01-01", **ZONE},
    ),
    (
        OrTrigger(
            [
                CronTrigger(hour=3, timezone=HELSINKI),
                BoundedAndTrigger(
                    [CronTrigger(day=1, timezone="UTC"), CrontabTrigger("@daily", "UTC")]
                ),
            ]
        ),
        {
            "type": "or",
            "triggers": [
                {"type": "cron", "hour": "3", **ZONE},
                {
                    "type": "and",
                    "triggers": [
                        {"type": "cron", "day": "1", "timezone": "UTC"},
                        {"type": "crontab", "expression": "@daily", "timezone": "UTC"},
                    ],
                },
            ],
        },
    ),
]


@pytest.mark.parametrize(("trigger", "form"), FORMS, ids=lambda value: str(value)[:40])
def test_a_trigger_is_written_in_its_own_words(trigger: BaseTrigger, form: dict[str, Any]) -> None:
    """APScheduler's words, and only those that differ from a default."""
    assert trigger_to_json(trigger, encode=encode) == form


@pytest.mark.parametrize(("trigger", "form"), FORMS, ids=lambda value: str(value)[:40])
def test_a_restored_trigger_fires_as_before(trigger: BaseTrigger, form: dict[str, Any]) -> None:
    """At the same microsecond, in the same zone, and it is written the same again."""
    restored = round_trip(trigger)

    assert isinstance(restored, type(trigger))
    assert fires(restored, START) == fires(trigger, START)
    assert trigger_to_json(restored, encode=encode) == form


@pytest.mark.parametrize(
    "trigger",
    [
        IntervalTrigger(minutes=5, start_date=START, jitter=3, timezone=HELSINKI),
        CronTrigger(hour=3, jitter=2.5, timezone=HELSINKI),
        CrontabTrigger("@daily", jitter=3, timezone=HELSINKI),
        CalendarIntervalTrigger(days=1, jitter=3, timezone=HELSINKI),
        OrTrigger([CronTrigger(hour=3, timezone="UTC")], jitter=3),
        AndTrigger([CronTrigger(hour=3, timezone="UTC")], jitter=3),
    ],
    ids=str,
)
def test_jitter_is_kept(trigger: Any) -> None:
    """Also that of combining triggers, and fractions."""
    assert trigger_to_json(trigger, encode=encode)["jitter"] == trigger.jitter
    assert round_trip(trigger).jitter == trigger.jitter


def test_every_length_of_an_interval_is_exact_to_the_microsecond() -> None:
    """Seconds are written as a number with a fraction."""
    for microseconds in (1, 999_999, 59_999_999, 123_456_789, 86_399_999_999, 10**14 + 1):
        trigger = IntervalTrigger(start_date=START, seconds=1)
        trigger.interval = timedelta(microseconds=microseconds)

        assert round_trip(trigger).interval == trigger.interval


def test_the_and_of_apscheduler_comes_back_as_one_that_cannot_hang() -> None:
    """APScheduler's own asks these two for ever once they have fired."""
    trigger = AndTrigger(
        [
            CronTrigger(hour=3, timezone=HELSINKI),
            CronTrigger(day_of_week=0, hour="*", timezone="UTC"),
        ]
    )

    restored = round_trip(trigger)

    assert isinstance(restored, BoundedAndTrigger)
    assert [text[:19] for text in fires(restored, START, 3)] == [
        "2026-01-05T03:00:00",
        "2026-01-12T03:00:00",
        "2026-01-19T03:00:00",
    ]


@pytest.mark.parametrize("zone", [UTC, ZoneInfo("Europe/Berlin"), timezone(timedelta(hours=9))])
def test_bounds_of_another_zone_stay_the_same_moments(zone: tzinfo) -> None:
    """Only their offset is kept."""
    start, end = START.astimezone(zone), END.astimezone(zone)
    trigger = CronTrigger(hour=3, start_date=start, end_date=end, timezone=HELSINKI)

    restored = round_trip(trigger)

    assert (restored.start_date, restored.end_date) == (start, end)
    assert restored.start_date.utcoffset() == start.utcoffset()
    assert restored.timezone == HELSINKI


def test_utc_keeps_its_name_whichever_class_it_is_of() -> None:
    """ZoneInfo("UTC") and datetime.UTC are the same time."""
    forms = [
        trigger_to_json(CronTrigger(hour=3, timezone=zone), encode=encode)["timezone"]
        for zone in (UTC, ZoneInfo("UTC"), timezone(timedelta(0)))
    ]

    assert forms == ["UTC"] * 3


class PytzLike(tzinfo):
    """A zone as pytz makes them: the name is in `zone`."""

    zone = "Europe/Helsinki"

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return None if moment is None else timedelta(hours=2)

    def dst(self, moment: datetime | None) -> timedelta | None:
        return timedelta(0)

    def tzname(self, moment: datetime | None) -> str:
        return "any"


class Nameless(PytzLike):
    """A zone that cannot be found again."""

    zone = None  # type: ignore[assignment]  # as in pytz


class Misnamed(PytzLike):
    """A zone whose name nobody knows."""

    zone = "local"


def test_the_zone_of_pytz_is_kept_by_its_name() -> None:
    """It comes back as that of the standard library."""
    restored = round_trip(DateTrigger(datetime(2026, 1, 1, tzinfo=PytzLike())))

    assert restored.run_date == datetime(2026, 1, 1, tzinfo=HELSINKI)
    assert restored.run_date.tzinfo == HELSINKI


def test_a_moment_without_a_zone_is_refused() -> None:
    """No trigger of APScheduler has one, but its attributes are open to all."""
    trigger = CronTrigger(hour=3, timezone="UTC")
    trigger.end_date = datetime(2026, 1, 1)

    with pytest.raises(InvalidTriggerError, match="has no time zone"):
        trigger_to_json(trigger, encode=encode)


@pytest.mark.parametrize("zone", [Nameless(), Misnamed()])
def test_a_zone_without_a_name_is_refused(zone: tzinfo) -> None:
    """The message says what to use instead."""
    with pytest.raises(InvalidTriggerError, match=r"has no name .* Use zoneinfo\.ZoneInfo"):
        trigger_to_json(DateTrigger(datetime(2026, 1, 1, tzinfo=zone)), encode=encode)


def test_json_may_leave_out_the_zone() -> None:
    """Then it is that of the settings; a time with an offset keeps its own."""
    with override_settings(ASYNC_APSCHEDULER={"TIME_ZONE": "Europe/Helsinki"}):
        assert restore({"type": "cron", "hour": 3}).timezone == HELSINKI
        assert restore({"type": "crontab", "expression": "@daily"}).timezone == HELSINKI
        naive = restore({"type": "date", "run_date": "2026-07-01T12:00:00"})
        fixed = restore({"type": "date", "run_date": "2026-07-01T12:00:00+03:00"})

    assert repr(naive.run_date) == repr(datetime(2026, 7, 1, 12, tzinfo=HELSINKI))
    assert fixed.run_date.tzinfo == timezone(timedelta(hours=3))


def test_a_date_whose_offset_is_not_that_of_its_zone_keeps_its_moment() -> None:
    """The rules of the zone may have changed since it was written."""
    trigger = restore({"type": "date", "run_date": "2026-07-01T12:00:00+02:00", **ZONE})

    assert trigger.run_date == datetime(2026, 7, 1, 13, tzinfo=HELSINKI)


@pytest.mark.parametrize(
    "trigger",
    [
        Every(timedelta(minutes=7), START),
        Slotted(START),
    ],
)
def test_a_trigger_class_of_the_project_is_kept_by_its_path(trigger: Any) -> None:
    """With the state that it, or Python for it, would pickle."""
    data = trigger_to_json(trigger, encode=encode)

    assert data["type"] == f"tests.testapp.triggers:{type(trigger).__name__}"
    assert type(round_trip(trigger)) is type(trigger)
    assert fires(round_trip(trigger), START) == fires(trigger, START)


def test_a_subclass_of_a_known_trigger_is_not_taken_for_it() -> None:
    """It may fire at other times."""
    data = trigger_to_json(EarlyCron(hour=3, timezone="UTC"), encode=repr)

    assert data["type"] == "tests.testapp.triggers:EarlyCron"


def test_a_trigger_class_outside_the_allowed_modules_is_refused_at_both_ends() -> None:
    """A row must not choose which code is imported."""
    data = trigger_to_json(Slotted(START), encode=encode)

    with override_settings(ASYNC_APSCHEDULER={"ALLOWED_MODULES": ["async_apscheduler"]}):
        with pytest.raises(ReferenceNotAllowedError):
            trigger_to_json(Slotted(START), encode=encode)
        with pytest.raises(ReferenceNotAllowedError):
            restore(data)


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        ("tests.testapp.triggers:NotATrigger", "is not a trigger class"),
        ("tests.testapp.functions:plain", "is not a trigger class"),
        ("tests.testapp.triggers:Missing", "leads nowhere"),
        ("tests.testapp.triggers:", "is not a function reference"),
        ("tests.testapp.triggers:Slotted", "does not take its stored state: KeyError"),
    ],
)
def test_a_forged_trigger_class_is_refused(reference: str, complaint: str) -> None:
    """Only subclasses of BaseTrigger are made, and never by calling them."""
    with pytest.raises(InvalidTriggerError) as caught:
        restore({"type": reference, "state": {"other": 1}})

    assert complaint in str(caught.value)


def test_an_error_of_the_decoder_is_told() -> None:
    """Damage as damage of the trigger, an attack as an attack."""
    data = {"type": "tests.testapp.triggers:Slotted"}

    with pytest.raises(InvalidTriggerError, match="unknown type 'x'"):
        restore({**data, "state": {"$type": "x"}})
    with pytest.raises(TamperedValueError):
        trigger_from_json(
            {**data, "state": {"$type": "pickle", "value": "forged"}},
            decode=partial(decode_value, serializer="pickle"),
        )


def nest(levels: int) -> BaseTrigger:
    """Return a trigger inside that many others."""
    trigger: BaseTrigger = CrontabTrigger("@daily", timezone="UTC")
    for _ in range(levels):
        trigger = OrTrigger([trigger])
    return trigger


def test_triggers_nest_five_levels_and_no_more() -> None:
    """MariaDB would refuse deeper JSON."""
    assert fires(round_trip(nest(5)), START) == fires(nest(5), START)
    with pytest.raises(InvalidTriggerError, match="5 levels deep"):
        trigger_to_json(nest(6), encode=encode)

    data = trigger_to_json(nest(5), encode=encode)
    with pytest.raises(InvalidTriggerError, match="5 levels deep"):
        restore({"type": "or", "triggers": [data]})


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (None, 'must be a dict with its "type"'),
        ([], 'must be a dict with its "type"'),
        ({}, 'must be a dict with its "type"'),
        ({"type": 5}, 'must be a dict with its "type"'),
        ({"type": "corn"}, "unknown; did you mean 'cron'?"),
        ({"type": "xyz"}, "known are date, interval, cron, crontab, calendarinterval, and, or."),
        ({"type": "date"}, "lacks 'run_date'"),
        ({"type": "date", "run_date": "soon"}, "'soon' is not a time"),
        ({"type": "date", "run_date": 5}, "5 is not a time"),
        ({"type": "date", "run_date": "2026-01-01", "timezone": "Mars"}, "'Mars' is not the name"),
        ({"type": "date", "run_date": "2026-01-01", "timezone": 5}, "5 is not the name of a time"),
        ({"type": "date", "run_date": "2026-01-01", "timezone": "+99:00"}, "is not the name"),
        ({"type": "date", "run_date": "2026-01-01", "timezone": "../x"}, "is not the name"),
        ({"type": "interval"}, "lacks its length"),
        ({"type": "interval", "minutes": 0}, "lacks its length"),
        ({"type": "interval", "minutes": "5"}, "'minutes' of a stored trigger must be a number"),
        ({"type": "interval", "minutes": True}, "must be a number, not True"),
        ({"type": "interval", "minutes": float("nan")}, "must be a number, not nan"),
        ({"type": "interval", "weeks": 1e300}, "is wrong"),
        ({"type": "interval", "minute": 5}, "did you mean 'minutes'?"),
        ({"type": "interval", "hours": 1, "minute": 5}, "did you mean 'minutes'?"),
        ({"type": "interval", "hours": 1, "jitter": "5"}, "jitter of a trigger must be a number"),
        ({"type": "interval", "hours": 1, "jitter": -5}, "jitter of a trigger must be a number"),
        ({"type": "interval", "hours": 1, "jitter": True}, "jitter of a trigger must be a number"),
        ({"type": "interval", "hours": 1, "end_date": "never"}, "'never' is not a time"),
        ({"type": "cron", "hour": "25"}, "The stored trigger 'cron' is wrong: Error validating"),
        ({"type": "cron", "hour": [3]}, "'hour' of a stored trigger 'cron' must be a text or a"),
        ({"type": "cron", "hours": "3"}, "did you mean 'hour'?"),
        ({"type": "crontab"}, "lacks 'expression'"),
        ({"type": "crontab", "expression": "* * *"}, "has 3 fields"),
        ({"type": "calendarinterval", "days": 1}, "lacks 'start_date'"),
        ({"type": "calendarinterval", "start_date": "2026-01-01"}, "at least 1 day long"),
        ({"type": "calendarinterval", "days": 1, "start_date": "x"}, "'x' is not a date"),
        ({"type": "calendarinterval", "days": 1.5, "start_date": "2026-01-01"}, "whole number"),
        ({"type": "calendarinterval", "days": 1, "hour": 25, "start_date": "2026-01-01"}, "hour"),
        ({"type": "and"}, "lacks 'triggers'"),
        ({"type": "or", "triggers": []}, "must be a list of some"),
        ({"type": "or", "triggers": "cron"}, "must be a list of some"),
        ({"type": "or", "triggers": [{"type": "corn"}]}, "did you mean 'cron'?"),
        ({"type": "tests.testapp.triggers:Slotted"}, "lacks 'state'"),
        ({"type": "tests.testapp.triggers:Slotted", "state": 1, "x": 1}, "'x' means nothing"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_wrong_json_is_refused_with_a_clear_text(data: Any, complaint: str) -> None:
    """Someone may be editing it in the admin."""
    with pytest.raises(InvalidTriggerError) as caught:
        restore(data)

    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("trigger", "complaint"),
    [
        ("cron", "'cron' is not a trigger"),
        (None, "None is not a trigger"),
        (CronTrigger(hour=3, jitter="5"), "The jitter of a trigger must be a number"),
        (IntervalTrigger(seconds=-5), "An interval must be positive"),
    ],
)
def test_what_is_no_good_trigger_is_not_written(trigger: Any, complaint: str) -> None:
    """It would only fail later, far from the mistake."""
    with pytest.raises(InvalidTriggerError) as caught:
        trigger_to_json(trigger, encode=encode)

    assert complaint in str(caught.value)


def test_the_time_of_day_is_free_of_its_zone() -> None:
    """The calendar interval keeps a time with a zone; only its numbers are written."""
    trigger = CalendarIntervalTrigger(days=1, hour=3, start_date="2026-03-28", timezone=HELSINKI)

    assert trigger_to_json(trigger, encode=encode)["hour"] == 3
    assert round_trip(trigger)._time == time(3, tzinfo=HELSINKI)
