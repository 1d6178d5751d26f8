"""Which fires are due: exact where it is cheap, bounded where it is not."""

from __future__ import annotations

import random
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
from async_apscheduler.triggers import BoundedAndTrigger, CrontabTrigger, DueTimes, fire_times
from tests.testapp.triggers import Deaf, Every, Stuck

HELSINKI = ZoneInfo("Europe/Helsinki")
NOW = datetime(2026, 11, 24, 12, 0, 0, 500_000, tzinfo=UTC)


class Counting(BaseTrigger):  # type: ignore[misc]  # untyped
    """Passes on, and counts, the questions to another trigger."""

    def __init__(self, trigger: BaseTrigger) -> None:
        self.trigger = trigger
        self.questions = 0

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        """Ask the other trigger."""
        self.questions += 1
        answer: datetime | None = self.trigger.get_next_fire_time(previous, now)
        return answer


def stepped(trigger: BaseTrigger, first: datetime, now: datetime) -> DueTimes:
    """Return what stepping from fire to fire gives, as APScheduler does it."""
    fires, following = [first], trigger.get_next_fire_time(first, now)
    while following is not None and following.astimezone(UTC) <= now:
        fires.append(following)
        following = trigger.get_next_fire_time(following, now)
    return DueTimes(fires[-1], fires, len(fires), following)


def in_utc(due: DueTimes) -> tuple[Any, ...]:
    """Return the times in UTC, where equal means equal."""
    recent = [moment.astimezone(UTC) for moment in due.recent]
    following = due.next and due.next.astimezone(UTC)
    return due.last.astimezone(UTC), recent, due.count, following


def interval(period: timedelta, **options: Any) -> IntervalTrigger:
    """Return an interval trigger that began long ago."""
    options = {"start_date": datetime(2020, 1, 1, tzinfo=UTC), "timezone": HELSINKI, **options}
    trigger = IntervalTrigger(**options)
    trigger.interval, trigger.interval_length = period, period.total_seconds()
    return trigger


TRIGGERS: list[Callable[[], BaseTrigger]] = [
    lambda: interval(timedelta(minutes=5)),
    lambda: interval(timedelta(microseconds=123_456_789)),
    lambda: interval(timedelta(hours=3), end_date=NOW - timedelta(hours=10)),
    lambda: interval(timedelta(hours=7), end_date=NOW + timedelta(hours=1)),
    lambda: CronTrigger(minute="*/5", timezone=HELSINKI),
    lambda: CronTrigger(hour=3, minute="0,30", timezone=HELSINKI, end_date="2026-11-24 03:10:00"),
    lambda: CrontabTrigger("*/7 * * * *", timezone=HELSINKI),
    lambda: CalendarIntervalTrigger(days=1, hour=3, start_date="2020-01-01", timezone=HELSINKI),
    lambda: OrTrigger(
        [CronTrigger(minute=5, timezone=HELSINKI), CrontabTrigger("7 * * * *", "UTC")]
    ),
    lambda: BoundedAndTrigger(
        [CronTrigger(hour="*/2", timezone=HELSINKI), CronTrigger(hour="*/3", timezone=HELSINKI)]
    ),
    lambda: Every(timedelta(minutes=7), NOW),
]


@pytest.mark.parametrize("make", TRIGGERS)
@pytest.mark.parametrize("absence", [timedelta(0), timedelta(hours=1), timedelta(days=3.3)])
def test_the_due_fires_are_those_of_stepping(
    make: Callable[[], BaseTrigger], absence: timedelta
) -> None:
    """All of them, in order, with their count and the one after them."""
    trigger = make()
    first = trigger.get_next_fire_time(None, NOW - absence - timedelta(days=1))
    assert first is not None
    if isinstance(trigger, CalendarIntervalTrigger):
        first = datetime(2026, 11, 20, 3, tzinfo=HELSINKI)

    due = fire_times(trigger, first, NOW, limit=5000)

    assert in_utc(due) == in_utc(stepped(trigger, first, NOW))
    assert due.last == due.recent[-1]


@pytest.mark.parametrize("make", TRIGGERS)
def test_only_the_latest_fires_are_kept(make: Callable[[], BaseTrigger]) -> None:
    """As many as were asked for, and the last and the next as ever."""
    trigger = make()
    first = datetime(2026, 11, 14, tzinfo=UTC)
    if not isinstance(trigger, IntervalTrigger):
        found = trigger.get_next_fire_time(None, first)
        assert found is not None
        first = found
    if isinstance(trigger, CalendarIntervalTrigger):
        first = datetime(2026, 11, 5, 3, tzinfo=HELSINKI)

    everything = stepped(trigger, first, NOW)
    due = fire_times(trigger, first, NOW, limit=10)

    assert in_utc(due)[0] == in_utc(everything)[0]
    assert in_utc(due)[1] == in_utc(everything)[1][-10:]
    assert in_utc(due)[3] == in_utc(everything)[3]
    assert 10 < due.count <= everything.count
    if isinstance(trigger, (IntervalTrigger, CalendarIntervalTrigger)):
        assert due.count == everything.count


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 7, 1000])
def test_the_count_is_exact_up_to_one_more_than_the_limit(limit: int) -> None:
    """The first fire, and as many steps as the limit allows; then at least so many."""
    trigger = CronTrigger(hour="*", timezone=UTC)

    due = fire_times(trigger, NOW.replace(hour=6, microsecond=0), NOW, limit=limit)

    assert due.count == min(7, limit + 2)
    assert len(due.recent) == min(7, limit)
    assert due.next == NOW.replace(hour=13, microsecond=0)


def test_one_due_fire_costs_one_question() -> None:
    """The everyday case of every job."""
    trigger = Counting(CronTrigger(minute="*", timezone=HELSINKI))
    first = NOW.replace(microsecond=0)

    due = fire_times(trigger, first, NOW)

    assert trigger.questions == 1
    assert due == DueTimes(first, [first], 1, first + timedelta(minutes=1))


@pytest.mark.parametrize(
    ("trigger", "limit", "questions"),
    [
        (CronTrigger(second="*", timezone=HELSINKI), 1000, 2500),
        (CronTrigger(second="*", timezone=HELSINKI), 1, 300),
        (CronTrigger(minute="*", timezone=HELSINKI), 1000, 2500),
        (CrontabTrigger("* * * * *", timezone=HELSINKI), 1, 300),
        # The last fire lies behind a long silence, before which there were many.
        (CronTrigger(month="1-6", second="*", timezone=HELSINKI), 1000, 2500),
        (CronTrigger(hour=3, minute="0,1", timezone=HELSINKI), 100, 1000),
    ],
    ids=str,
)
def test_a_year_of_absence_costs_a_bounded_number_of_questions(
    trigger: BaseTrigger, limit: int, questions: int
) -> None:
    """And not one for each of 31 million seconds."""
    counting = Counting(trigger)
    first = trigger.get_next_fire_time(None, NOW - timedelta(days=365))
    assert first is not None

    due = fire_times(counting, first, NOW, limit=limit)

    expected = trigger.get_next_fire_time(None, due.last)
    assert counting.questions <= questions
    assert due.last == expected  # it is a fire
    assert due.next is not None
    assert due.last.astimezone(UTC) <= NOW < due.next.astimezone(UTC)
    assert len(due.recent) == limit
    assert all(trigger.get_next_fire_time(None, moment) == moment for moment in due.recent)
    recent = [moment.astimezone(UTC) for moment in due.recent]
    assert recent == sorted(set(recent))


def test_an_interval_of_a_second_is_counted_over_a_year_without_asking() -> None:
    """By arithmetic, to the last one."""
    trigger = IntervalTrigger(seconds=1, start_date="2020-01-01", timezone=HELSINKI)
    first = NOW.replace(year=2025, microsecond=0)

    due = fire_times(trigger, first, NOW, limit=3)

    last = NOW.replace(microsecond=0)
    assert due.count == 365 * 24 * 3600 + 1
    assert due.recent == [last - timedelta(seconds=2), last - timedelta(seconds=1), last]
    assert due.next == last + timedelta(seconds=1)
    assert due.last.tzinfo == HELSINKI


def test_intervals_count_real_time_across_a_clock_change() -> None:
    """Though all times are of one zone, whose wall clock jumps."""
    trigger = IntervalTrigger(hours=1, start_date="2026-01-01", timezone=HELSINKI)
    first = datetime(2026, 10, 25, 0, tzinfo=HELSINKI)
    now = datetime(2026, 10, 25, 6, tzinfo=HELSINKI)

    due = fire_times(trigger, first, now)

    assert due.count == 8  # 0, 1, 2, 3, 3 again, 4, 5, 6 o'clock
    assert [moment.hour for moment in due.recent] == [0, 1, 2, 3, 3, 4, 5, 6]


def test_a_fire_in_the_hour_that_is_left_out_is_not_found_twice() -> None:
    """APScheduler's cron calls it half past three and, asked again, half past four."""
    trigger = CronTrigger(hour="3-9", minute=30, timezone=HELSINKI)
    first = trigger.get_next_fire_time(None, datetime(2026, 3, 29, 0, 45, tzinfo=UTC))

    due = fire_times(trigger, first, first)

    assert (due.count, due.last) == (1, first)
    assert due.next == datetime(2026, 3, 29, 5, 30, tzinfo=HELSINKI)


@pytest.mark.parametrize("fold", [0, 1])
def test_now_may_lie_in_the_hour_that_comes_twice(fold: int) -> None:
    """The wall clock of `now` and that of the next fire may look the wrong way round."""
    trigger = CrontabTrigger("*/20 * * * *", timezone=HELSINKI)
    first = datetime(2026, 10, 25, 3, 20, tzinfo=HELSINKI)
    now = datetime(2026, 10, 25, 3, 30, tzinfo=HELSINKI, fold=fold)

    due = fire_times(trigger, first, now)

    assert due.count == (1 if fold == 0 else 4)
    assert due.next is not None
    assert due.next.astimezone(UTC) > now.astimezone(UTC)


def test_a_date_fires_once() -> None:
    """However long ago it was."""
    first = NOW - timedelta(days=400)

    assert fire_times(DateTrigger(first), first, NOW) == DueTimes(first, [first], 1, None)


def test_the_end_ends_it() -> None:
    """The last fire is the last one before the end, and there is no next."""
    trigger = CronTrigger(second="*", timezone=UTC, end_date="2026-06-01 12:00:00")

    due = fire_times(trigger, datetime(2026, 1, 1, tzinfo=UTC), NOW, limit=2)

    assert due.last == datetime(2026, 6, 1, 12, tzinfo=UTC)
    assert due.next is None


def test_fires_missed_are_reckoned_without_jitter_and_the_next_one_with() -> None:
    """Nobody would see the delay of a run that did not take place."""
    trigger = CronTrigger(minute="*", timezone=UTC, jitter=20)
    first = datetime(2026, 1, 1, 0, 0, 13, 7, tzinfo=UTC)

    dues = [fire_times(trigger, first, NOW, limit=5) for _ in range(20)]

    minute = NOW.replace(second=0, microsecond=0)
    assert {due.last for due in dues} == {minute}
    assert len({due.next for due in dues}) > 1
    delays = [(due.next or NOW) - minute - timedelta(minutes=1) for due in dues]
    assert all(timedelta(0) <= delay <= timedelta(seconds=20) for delay in delays)


def test_an_interval_with_jitter_is_counted_as_if_it_had_none() -> None:
    """From the fire that was due."""
    trigger = IntervalTrigger(minutes=1, start_date="2026-01-01", timezone=UTC, jitter=20)
    first = NOW - timedelta(minutes=10, seconds=7)

    due = fire_times(trigger, first, NOW)

    assert due.count in (10, 11)
    assert due.last <= NOW < (due.next or NOW)


def test_the_and_of_apscheduler_is_asked_in_bounded_time() -> None:
    """Its own answer to the second question would never come."""
    trigger = AndTrigger(
        [CronTrigger(hour=3, timezone=UTC), CronTrigger(day_of_week="mon", hour="*", timezone=UTC)]
    )
    first = datetime(2026, 11, 2, 3, tzinfo=UTC)

    due = fire_times(trigger, first, NOW)

    assert [moment.day for moment in due.recent] == [2, 9, 16, 23]
    assert due.next == datetime(2026, 11, 30, 3, tzinfo=UTC)


def test_a_date_inside_an_or_does_not_keep_it_from_jumping() -> None:
    """Asked without a previous fire, a date answers with the past."""
    trigger = OrTrigger(
        [DateTrigger(NOW - timedelta(days=300)), CronTrigger(second="*", timezone=UTC)]
    )

    due = fire_times(trigger, NOW - timedelta(days=300), NOW, limit=2)

    assert due.last == NOW.replace(microsecond=0)


def test_calendar_steps_are_counted_one_by_one_however_many() -> None:
    """There is at most one a day."""
    trigger = CalendarIntervalTrigger(days=1, hour=3, start_date="2006-11-24", timezone=UTC)

    due = fire_times(trigger, datetime(2006, 11, 24, 3, tzinfo=UTC), NOW, limit=10)

    assert due.count == 7306
    assert due.last == NOW.replace(hour=3, microsecond=0)


def test_a_trigger_that_does_not_move_on_is_refused() -> None:
    """It would be due for ever."""
    with pytest.raises(InvalidTriggerError, match="must move on"):
        fire_times(Stuck(), NOW - timedelta(hours=1), NOW)


def test_a_trigger_that_cannot_jump_is_stepped_as_far_as_is_sensible() -> None:
    """Some thousand steps are taken, millions are not."""
    recently, long_ago = NOW - timedelta(hours=5), NOW - timedelta(days=365)

    near = fire_times(Deaf(recently), recently, NOW, limit=10)

    assert near.count == 18_001
    with pytest.raises(InvalidTriggerError, match="within 50000 steps"):
        fire_times(Deaf(long_ago), long_ago, NOW)


def test_a_first_fire_in_the_future_is_a_mistake_of_the_caller() -> None:
    """It is not due."""
    with pytest.raises(ValueError, match="lies after"):
        fire_times(CronTrigger(hour=3), NOW + timedelta(seconds=1), NOW)


def test_random_absences_lose_and_invent_nothing() -> None:
    """A seeded storm of triggers and absences, against plain stepping."""
    chance = random.Random(20260104)

    for _ in range(60):
        trigger = chance.choice(
            [
                CronTrigger(
                    minute=chance.choice(["*", "*/13", "0-5", "59"]),
                    hour=chance.choice(["*", "3", "2-4", "*/5"]),
                    day_of_week=chance.choice(["*", "mon", "sat,sun"]),
                    timezone=chance.choice([UTC, HELSINKI]),
                ),
                interval(timedelta(microseconds=chance.randrange(10**8, 10**10))),
                CrontabTrigger(chance.choice(["*/9 2-4 * * *", "0 4 * * 1", "1,2 * * * *"]), "UTC"),
            ]
        )
        change = chance.choice([datetime(2026, 3, 29, 1), datetime(2026, 10, 25, 1)])
        now = change.replace(second=1, tzinfo=UTC) + timedelta(hours=chance.randrange(-48, 48))
        first = trigger.get_next_fire_time(None, now - timedelta(hours=chance.randrange(1, 150)))
        if first is None or first.astimezone(UTC) > now:
            continue
        limit = chance.choice([1, 3, 50])

        due = in_utc(fire_times(trigger, first, now, limit=limit))

        expected = in_utc(stepped(trigger, first, now))
        assert (due[0], due[3]) == (expected[0], expected[3])
        assert due[1] == expected[1][-len(due[1]) :]
        assert due[2] <= expected[2]
