"""Triggers in plain words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
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
from django.utils import translation

from async_apscheduler.triggers import BoundedAndTrigger, CrontabTrigger, describe_trigger
from tests.testapp.triggers import EarlyCron, Every, Finished

HELSINKI = ZoneInfo("Europe/Helsinki")
START = datetime(2026, 1, 1, 8, 30, tzinfo=HELSINKI)
END = datetime(2026, 12, 31, 18, tzinfo=HELSINKI)


@pytest.fixture(autouse=True)
def helsinki() -> Any:
    """Let Helsinki be the usual time zone."""
    with override_settings(ASYNC_APSCHEDULER={"TIME_ZONE": "Europe/Helsinki"}):
        yield


def every(**options: Any) -> IntervalTrigger:
    """Return an interval trigger with a start, which is not told."""
    return IntervalTrigger(**{"start_date": START, "timezone": HELSINKI, **options})


def cron(**options: Any) -> CronTrigger:
    """Return a cron trigger in the usual zone."""
    return CronTrigger(**{"timezone": HELSINKI, **options})


def calendar(**options: Any) -> CalendarIntervalTrigger:
    """Return a calendar interval in the usual zone."""
    return CalendarIntervalTrigger(**{"start_date": START.date(), "timezone": HELSINKI, **options})


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        (every(minutes=5), "every 5 minutes"),
        (every(hours=2, minutes=30), "every 2 hours 30 minutes"),
        (every(hours=1, seconds=1), "every 1 hour 1 second"),
        (every(seconds=1), "every second"),
        (every(minutes=1), "every minute"),
        (every(minutes=60), "every hour"),
        (every(days=1), "every day"),
        (every(weeks=1), "every week"),
        (every(weeks=3), "every 3 weeks"),
        (every(seconds=2.5), "every 2.5 seconds"),
        (every(seconds=0.25), "every 0.25 seconds"),
        (every(minutes=1, seconds=1.000001), "every 1 minute 1.000001 seconds"),
        (every(minutes=5, end_date=END), "every 5 minutes, until 2026-12-31 18:00"),
        (every(minutes=5, jitter=5), "every 5 minutes, up to 5 s later"),
        (every(minutes=5, timezone=UTC), "every 5 minutes"),
        (DateTrigger(START), "once, on 2026-01-01 08:30"),
        (DateTrigger(START.astimezone(UTC)), "once, on 2026-01-01 06:30 UTC"),
        (
            DateTrigger(datetime(2026, 1, 1, 12, 0, 7, tzinfo=ZoneInfo("America/New_York"))),
            "once, on 2026-01-01 12:00:07 America/New_York",
        ),
        (
            DateTrigger(datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=5.5)))),
            "once, on 2026-01-01 12:00 +05:30",
        ),
        (
            CrontabTrigger("30 3 * * mon-fri", timezone=HELSINKI),
            "at 03:30 on Monday through Friday",
        ),
        (
            CrontabTrigger("30 3 * * *", "UTC", start_date=START, end_date=END, jitter=1.5),
            "at 03:30 every day, UTC, from 2026-01-01 08:30 on, until 2026-12-31 18:00, "
            "up to 1.5 s later",
        ),
        (cron(hour=3), "at 03:00 every day"),
        (cron(hour=3, minute=30, timezone="UTC"), "at 03:30 every day, UTC"),
        (cron(day_of_week="mon-fri", hour=3), "at 03:00 on Monday through Friday"),
        (cron(day_of_week="0-4", hour=3), "at 03:00 on Monday through Friday"),
        (cron(day_of_week="sat,sun", hour=3), "at 03:00 on Saturday and Sunday"),
        (cron(day_of_week="5-6", hour=3), "at 03:00 on Saturday and Sunday"),
        (cron(day_of_week=6, hour=3), "at 03:00 on Sunday"),
        (
            cron(month="jan-mar", day=1),
            "at 00:00 on the first day of every month from January through March",
        ),
        (cron(day="*/2", hour=4), "at 04:00 on every second day of month"),
        (cron(minute="*/5"), "every fifth minute of every hour"),
        (
            cron(hour="8-18/2", minute=0),
            "at minute 0 past every second hour from 8 through 18",
        ),
        (cron(minute="5/20"), "every 20th minute from 5 through 59 of every hour"),
        # What five fields cannot say.
        (cron(second="*"), "every second"),
        (cron(second="*/10"), "every 10 seconds"),
        (cron(second="*/7"), "every minute, every 7 seconds"),
        (cron(hour=3, minute=0, second="5,10"), "at 03:00 every day, at second 5, 10"),
        (cron(day="last", hour=3), "at 03:00 on the last day of every month"),
        (cron(day="2nd fri"), "at 00:00 on the second Friday of the month"),
        (cron(day="last sun", hour=2), "at 02:00 on the last Sunday of the month"),
        (
            cron(day="1-7", day_of_week="mon", hour=3),
            "at 03:00 on Monday, if that is day 1-7 of the month",
        ),
        (cron(week="10,12", day_of_week=0), "at 00:00 on Monday, in week 10, 12 of the year"),
        (cron(year=2030, month=2, day=28), "at 00:00 on February 28, in 2030"),
        (cron(second=5, end_date=END), "every minute, at second 5, until 2026-12-31 18:00"),
        (cron(day="1,last", hour=3), "cron: day=1,last, hour=3"),
        (cron(day="last", day_of_week="mon"), "cron: day=last, day_of_week=mon"),
        (cron(day_of_week="*/2"), "cron: day_of_week=*/2"),
        (cron(week="*/2", hour=3), "cron: week=*/2, hour=3"),
        (cron(year="*/2"), "cron: year=*/2"),
        (calendar(days=1, hour=3), "every day at 03:00, from 2026-01-01 on"),
        (calendar(months=1), "every month at 00:00, from 2026-01-01 on"),
        (
            calendar(years=1, months=2, hour=3, second=5, timezone="UTC", end_date="2027-01-01"),
            "every 1 year 2 months at 03:00:05, UTC, from 2026-01-01 on, until 2027-01-01",
        ),
        (OrTrigger([cron(hour=3), every(minutes=5)]), "at 03:00 every day or every 5 minutes"),
        (
            AndTrigger([cron(hour=3), OrTrigger([every(days=1), every(weeks=1)])], jitter=3),
            "at 03:00 every day and (every day or every week), up to 3 s later",
        ),
        (BoundedAndTrigger([cron(hour=3)]), "at 03:00 every day"),
        (Every(timedelta(minutes=7), START), "Every"),
    ],
    ids=str,
)
def test_a_trigger_is_told_in_words(trigger: BaseTrigger, words: str) -> None:
    """The zone only where it is not the usual one."""
    assert describe_trigger(trigger) == words


def test_a_cron_trigger_and_its_words_mean_the_same_days() -> None:
    """The weekdays of APScheduler count from Monday, those of the words from Sunday."""
    from async_apscheduler.triggers._cron_words import as_crontab

    for fields in (
        {"day_of_week": "0,2-4", "hour": 5},
        {"day_of_week": "sun", "hour": 5},
        {"day_of_week": "4-6/2", "hour": 5},
        {"month": "*/5", "day": "10-20/3", "hour": "1/7", "minute": "7,*/25"},
        {"day": "last", "hour": 5},
        {"day": "3rd sun", "hour": 5},
        {"day": "last sat", "hour": 5},
    ):
        theirs = CronTrigger(**fields, timezone="UTC")
        line = as_crontab({field.name: field for field in theirs.fields})
        assert line is not None
        ours = CrontabTrigger(line, timezone="UTC")

        moment: datetime | None = datetime(2026, 1, 1, tzinfo=UTC)
        for _ in range(40):
            assert moment is not None
            expected = theirs.get_next_fire_time(moment, moment)
            assert ours.get_next_fire_time(moment, moment) == expected, line
            moment = expected


class Nameless(tzinfo):
    """A zone that cannot be stored."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return None if moment is None else timedelta(hours=2)

    def dst(self, moment: datetime | None) -> timedelta | None:
        return timedelta(0)

    def tzname(self, moment: datetime | None) -> str:
        return "nameless"

    def __str__(self) -> str:
        return "somewhere"


def test_a_zone_without_a_name_is_told_by_its_own_text() -> None:
    """The trigger of a memory store may have one."""
    trigger = DateTrigger(datetime(2026, 1, 1, tzinfo=Nameless()))

    assert describe_trigger(trigger) == "once, on 2026-01-01 00:00 somewhere"


class Talkative(Finished):
    """Says what it does."""

    def __str__(self) -> str:
        return "when the sun shines"


class Stuttering(Finished):
    """Fails to say it."""

    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        (Talkative(), "when the sun shines"),
        (Stuttering(), "Stuttering"),
        (Finished(), "Finished"),
        (EarlyCron(hour=3, timezone=HELSINKI), "cron[hour='3']"),
    ],
)
def test_a_trigger_of_the_project_is_told_in_its_own_words(
    trigger: BaseTrigger, words: str
) -> None:
    """Or by its name; never as what it was derived from."""
    assert describe_trigger(trigger) == words


def test_the_words_follow_the_language_and_the_numbers_stay() -> None:
    """Where there is no translation they are English."""
    with translation.override("fi"):
        assert "5" in describe_trigger(every(minutes=5))
