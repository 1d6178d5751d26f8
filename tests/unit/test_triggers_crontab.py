"""The crontab trigger: cron's numbering, cron's days, and Debian's rules at clock changes."""

from __future__ import annotations

import pickle
import random
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.cron import CronTrigger
from cronsim import CronSim
from django.test import override_settings

from async_apscheduler.exceptions import InvalidTriggerError
from async_apscheduler.triggers import CrontabTrigger

HELSINKI = "Europe/Helsinki"
NEW_YORK = "America/New_York"


def utc(text: str) -> datetime:
    """Return a moment of 2026 in UTC: "03-29 00:30"."""
    return datetime.fromisoformat(f"2026-{text}+00:00")


def fires(trigger: CrontabTrigger, start: datetime, count: int) -> list[datetime]:
    """Return the first fires from a moment on, in UTC, each asked for with the one before."""
    found: list[datetime] = []
    previous = None
    while len(found) < count:
        previous = trigger.get_next_fire_time(previous, previous or start)
        if previous is None:
            break
        found.append(previous.astimezone(UTC))
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # The 1st of March 2026 is a Sunday.
        ("0 12 * * 0", ["03-01 12:00", "03-08 12:00"]),
        ("0 12 * * 7", ["03-01 12:00", "03-08 12:00"]),
        ("0 12 * * sun", ["03-01 12:00", "03-08 12:00"]),
        ("0 12 * * 1", ["03-02 12:00", "03-09 12:00"]),
        ("0 12 * * mon-wed", ["03-02 12:00", "03-03 12:00", "03-04 12:00", "03-09 12:00"]),
        ("0 12 * * 5-7", ["03-01 12:00", "03-06 12:00", "03-07 12:00", "03-08 12:00"]),
        # Both days given: either will do.
        ("0 12 5 * mon", ["03-02 12:00", "03-05 12:00", "03-09 12:00"]),
        # One of them begins with a star: both must fit.
        ("0 12 */2 * mon", ["03-09 12:00", "03-23 12:00"]),
        ("0 12 * * *", ["03-01 12:00", "03-02 12:00"]),
        ("*/20 8-9 1 * *", ["03-01 08:00", "03-01 08:20", "03-01 08:40", "03-01 09:00"]),
        ("5,10 0 1 APR *", ["04-01 00:05", "04-01 00:10"]),
        ("  0   12 * *\t* ", ["03-01 12:00"]),
        ("@hourly", ["03-01 00:00", "03-01 01:00"]),
        ("@daily", ["03-01 00:00", "03-02 00:00"]),
        ("@midnight", ["03-01 00:00", "03-02 00:00"]),
        ("@Weekly", ["03-01 00:00", "03-08 00:00"]),
        ("@monthly", ["03-01 00:00", "04-01 00:00"]),
    ],
)
def test_a_line_means_what_cron_means_by_it(expression: str, expected: list[str]) -> None:
    """Weekdays count from Sunday, unlike those of APScheduler's own cron trigger."""
    trigger = CrontabTrigger(expression, timezone="UTC")

    assert fires(trigger, utc("03-01 00:00"), len(expected)) == list(map(utc, expected))


@pytest.mark.parametrize("nickname", ["@yearly", "@annually"])
def test_a_year_has_two_nicknames(nickname: str) -> None:
    """As in cron."""
    trigger = CrontabTrigger(nickname, timezone="UTC")

    assert fires(trigger, utc("03-01 00:00"), 1) == [datetime(2027, 1, 1, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("zone", "expression", "start", "expected"),
    [
        # Helsinki, 29 March: at 01:00 UTC the clock goes from 03:00 to 04:00 (UTC+2 to UTC+3).
        # A fixed time that is skipped: "run immediately" after the change.
        (HELSINKI, "30 3 * * *", "03-28 12:00", ["03-29 01:00", "03-30 00:30"]),
        (HELSINKI, "0 3 29 3 *", "03-28 12:00", ["03-29 01:00"]),
        (HELSINKI, "59 2 * * *", "03-28 12:00", ["03-29 00:59", "03-29 23:59"]),
        (HELSINKI, "0 4 * * *", "03-28 12:00", ["03-29 01:00", "03-30 01:00"]),
        (HELSINKI, "0 3,4 * * *", "03-28 12:00", ["03-29 01:00", "03-30 00:00", "03-30 01:00"]),
        # A star in the minute or the hour: scheduled by the new clock alone.
        (HELSINKI, "0 * * * *", "03-29 00:00", ["03-29 00:00", "03-29 01:00", "03-29 02:00"]),
        (HELSINKI, "*/30 3 * * *", "03-29 00:00", ["03-30 00:00", "03-30 00:30"]),
        (HELSINKI, "*/30 * * * *", "03-29 00:30", ["03-29 00:30", "03-29 01:00", "03-29 01:30"]),
        # Helsinki, 25 October: at 01:00 UTC the clock goes from 04:00 back to 03:00.
        # A fixed time that comes twice: "running the same job twice is avoided".
        (HELSINKI, "30 3 * * *", "10-24 12:00", ["10-25 00:30", "10-26 01:30"]),
        (HELSINKI, "0 3 * * *", "10-24 12:00", ["10-25 00:00", "10-26 01:00"]),
        (HELSINKI, "0 4 * * *", "10-24 12:00", ["10-25 02:00", "10-26 02:00"]),
        (HELSINKI, "0 3,4 25 10 *", "10-24 12:00", ["10-25 00:00", "10-25 02:00"]),
        # ... also when cron is started in between, or just then.
        (HELSINKI, "30 3 * * *", "10-25 00:45", ["10-26 01:30"]),
        (HELSINKI, "30 3 * * *", "10-25 01:10", ["10-26 01:30"]),
        (HELSINKI, "30 3 * * *", "10-25 01:30", ["10-26 01:30"]),
        # A star: every hour, so both of those that are called three o'clock.
        (HELSINKI, "0 * * * *", "10-25 00:00", ["10-25 00:00", "10-25 01:00", "10-25 02:00"]),
        (
            HELSINKI,
            "*/30 3 * * *",
            "10-24 12:00",
            ["10-25 00:00", "10-25 00:30", "10-25 01:00", "10-25 01:30", "10-26 01:00"],
        ),
        # New York, 8 March: at 07:00 UTC from 02:00 to 03:00 (UTC-5 to UTC-4).
        (NEW_YORK, "30 2 * * *", "03-07 12:00", ["03-08 07:00", "03-09 06:30"]),
        (NEW_YORK, "30 2 * * sun", "03-07 12:00", ["03-08 07:00", "03-15 06:30"]),
        (NEW_YORK, "15 1-3 * * *", "03-08 06:00", ["03-08 06:15", "03-08 07:00", "03-08 07:15"]),
        (NEW_YORK, "*/15 2 8 3 *", "03-07 12:00", []),
        (NEW_YORK, "30 * * * *", "03-08 06:00", ["03-08 06:30", "03-08 07:30", "03-08 08:30"]),
        # New York, 1 November: at 06:00 UTC from 02:00 back to 01:00.
        (NEW_YORK, "30 1 * * *", "10-31 12:00", ["11-01 05:30", "11-02 06:30"]),
        (NEW_YORK, "0 0,1,2 1 11 *", "10-31 12:00", ["11-01 04:00", "11-01 05:00", "11-01 07:00"]),
        (NEW_YORK, "30 * * * *", "11-01 05:00", ["11-01 05:30", "11-01 06:30", "11-01 07:30"]),
        (NEW_YORK, "30 1 1 11 *", "11-01 06:10", []),
    ],
)
def test_clock_changes_follow_the_rules_of_debian(
    zone: str, expression: str, start: str, expected: list[str]
) -> None:
    """Worked out by hand from cron(8) of Debian, section on changes of local time."""
    trigger = CrontabTrigger(expression, timezone=zone, end_date="2026-12-31")

    assert fires(trigger, utc(start), len(expected) or 1) == list(map(utc, expected))


@pytest.mark.parametrize("zone", [HELSINKI, NEW_YORK, "UTC", "Asia/Kathmandu"])
@pytest.mark.parametrize(
    "expression",
    ["* * * * *", "*/7 * * * *", "30 3 * * *", "0 0 29 2 *", "0 9-17 * * mon-fri", "1 2 3 */4 5"],
)
def test_the_fires_are_those_of_cronsim(zone: str, expression: str) -> None:
    """Asking step by step, forgetting everything in between, changes nothing."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    expected = islice(CronSim(expression, start.astimezone(ZoneInfo(zone))), 60)

    found = fires(CrontabTrigger(expression, timezone=zone), start + timedelta(microseconds=1), 60)

    assert found == [moment.astimezone(UTC) for moment in expected]


def test_fires_always_move_on() -> None:
    """A seeded storm of lines, zones and moments, most of them near a clock change."""
    chance = random.Random(20260103)
    zones = [HELSINKI, NEW_YORK, "Australia/Lord_Howe", "America/Havana", "Africa/Casablanca"]
    changes = [utc("03-29 01:00"), utc("10-25 01:00"), utc("03-08 07:00"), utc("11-01 06:00")]

    def field(low: int, high: int) -> str:
        number = chance.randrange(low, high + 1)
        return chance.choice(["*", f"*/{number or 1}", str(number), f"{low}-{number}"])

    for _ in range(300):
        hours = chance.choice([field(0, 23), field(0, 4)])
        expression = f"{field(0, 59)} {hours} {field(1, 28)} * {field(0, 7)}"
        trigger = CrontabTrigger(expression, timezone=chance.choice(zones))
        start = chance.choice(changes) + timedelta(minutes=chance.randrange(-300, 300))

        found = fires(trigger, start, 5)

        assert found[0] >= start
        assert all(earlier < later for earlier, later in pairwise(found)), expression


def test_the_first_fire_may_be_now_and_the_next_one_is_later() -> None:
    """From `now` on without a previous fire, strictly after it with one."""
    trigger = CrontabTrigger("*/5 * * * *", timezone="UTC")
    noon = utc("03-01 12:00")

    assert trigger.get_next_fire_time(None, noon) == noon
    assert trigger.get_next_fire_time(None, noon + timedelta(microseconds=1)) == utc("03-01 12:05")
    assert trigger.get_next_fire_time(noon, noon) == utc("03-01 12:05")
    assert trigger.get_next_fire_time(noon, utc("03-01 18:00")) == utc("03-01 12:05")


@pytest.mark.parametrize("hour", [3, 15])
def test_a_fire_is_in_the_zone_of_the_trigger_as_that_of_a_cron_trigger(hour: int) -> None:
    """Both can be used for each other."""
    ours = CrontabTrigger(f"0 {hour} * * *", timezone=HELSINKI)
    theirs = CronTrigger(hour=hour, timezone=HELSINKI)
    now = utc("07-01 05:06")

    fire = ours.get_next_fire_time(None, now)

    assert repr(fire) == repr(theirs.get_next_fire_time(None, now))


def test_start_and_end_bound_the_fires_inclusively() -> None:
    """As those of APScheduler's cron trigger do."""
    trigger = CrontabTrigger(
        "0 12 * * *", timezone=HELSINKI, start_date="2026-03-02 12:00:00", end_date="2026-03-03"
    )
    later = CrontabTrigger("0 12 * * *", timezone="UTC", end_date=utc("03-02 12:00"))

    assert fires(trigger, utc("03-01 00:00"), 5) == [utc("03-02 10:00")]
    assert fires(later, utc("03-01 00:00"), 5) == [utc("03-01 12:00"), utc("03-02 12:00")]
    assert trigger.get_next_fire_time(utc("01-01 00:00"), utc("01-01 00:00")) == utc("03-02 10:00")


def test_jitter_delays_but_not_beyond_the_end() -> None:
    """By up to so many seconds, and by a different time each time."""
    trigger = CrontabTrigger(
        "0 12 * * *", timezone=HELSINKI, end_date=utc("03-01 10:00:02"), jitter=10
    )
    noon, end = utc("03-01 10:00"), utc("03-01 10:00:02")

    found = {trigger.get_next_fire_time(None, noon) for _ in range(50)}

    assert len(found) > 2
    assert all(fire is not None and noon <= fire <= end for fire in found)


def test_jitter_counts_real_seconds_across_a_clock_change() -> None:
    """Not those of the wall clock, which would be an hour wrong."""
    trigger = CrontabTrigger("59 2 29 3 *", timezone=HELSINKI, jitter=600)

    found = [trigger.get_next_fire_time(None, utc("03-28 00:00")) for _ in range(50)]

    spread = [(fire.astimezone(UTC) - utc("03-29 00:59")).total_seconds() for fire in found if fire]
    assert all(0 <= seconds <= 600 for seconds in spread)
    assert all(fire.astimezone(UTC).astimezone(fire.tzinfo) == fire for fire in found if fire)


def test_the_zone_is_that_of_the_dates_or_of_the_settings() -> None:
    """In that order."""
    moment = datetime(2026, 1, 1, tzinfo=ZoneInfo(NEW_YORK))

    with override_settings(ASYNC_APSCHEDULER={"TIME_ZONE": HELSINKI}):
        assert CrontabTrigger("@daily").timezone == ZoneInfo(HELSINKI)
        assert CrontabTrigger("@daily", end_date=moment).timezone == ZoneInfo(NEW_YORK)
        assert CrontabTrigger("@daily", timezone="UTC", start_date=moment).timezone == UTC


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("", "has 0 fields instead of 5"),
        ("* * * *", "has 4 fields instead of 5"),
        ("0 * * * * *", "has 6 fields instead of 5"),
        ("60 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("* * 0 * *", "bad day-of-month"),
        ("* * * 13 *", "bad month"),
        ("* * * * 8", "bad day-of-week"),
        ("* * * * monday", "bad day-of-week"),
        ("5-1 * * * *", "bad minute"),
        ("*/0 * * * *", "bad minute"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("@reboot", "Known are @yearly"),
        (None, "must be a text such as '30 3 * * mon-fri', not None"),
        (5, "must be a text"),
    ],
)
def test_a_wrong_line_is_refused_with_the_reason(expression: Any, complaint: str) -> None:
    """The message shows the line and the part that is wrong."""
    with pytest.raises(InvalidTriggerError) as caught:
        CrontabTrigger(expression, timezone="UTC")

    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("30 3 * * mon-fri", "at 03:30 on Monday through Friday"),
        ("@hourly", "at the start of every hour"),
        ("0 9 21,22 * *", "at 09:00 on the 21st and the 22nd day of month"),
        ("0 9 11,30 * *", "at 09:00 on the 11th and the 30th day of month"),
    ],
)
def test_a_line_is_explained_in_english(expression: str, words: str) -> None:
    """For those who do not read cron."""
    assert CrontabTrigger(expression, timezone="UTC").describe() == words


def test_a_pickled_trigger_fires_as_before() -> None:
    """Another job store of APScheduler may keep it."""
    trigger = CrontabTrigger(
        "30 3 * * *", timezone=HELSINKI, start_date="2026-02-01", end_date="2026-11-01", jitter=0
    )

    restored = pickle.loads(pickle.dumps(trigger))

    assert restored.__getstate__() == trigger.__getstate__()
    assert fires(restored, utc("01-01 00:00"), 300) == fires(trigger, utc("01-01 00:00"), 300)
    assert str(restored) == "crontab[30 3 * * *]"
    assert "Europe/Helsinki" in repr(restored)


def test_a_pickle_of_a_later_release_is_refused() -> None:
    """It may mean something else."""
    state = {**CrontabTrigger("@daily", timezone="UTC").__getstate__(), "version": 2}

    with pytest.raises(ValueError, match="newer release"):
        CrontabTrigger.__new__(CrontabTrigger).__setstate__(state)
