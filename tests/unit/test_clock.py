"""The clock that nodes share: the server's, whatever this machine's clock does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from async_apscheduler.engine import clock
from async_apscheduler.engine.clock import SharedClock

NOON = datetime(2030, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock: the last of these seconds."""
    moments = [100.0]
    monkeypatch.setattr(clock.time, "monotonic", lambda: moments[-1])
    return moments


def test_time_goes_on_from_what_the_server_said(steps: list[float]) -> None:
    """Between two looks at the server the seconds are counted here."""
    shared = SharedClock()
    shared.set(lambda: NOON)

    steps.append(107.5)

    assert shared.now() == NOON + timedelta(seconds=7.5)


def test_what_measuring_adds_is_smoothed(steps: list[float]) -> None:
    """A difference of milliseconds moves the clock by a tenth of it, and is no jump."""
    shared = SharedClock()
    shared.set(lambda: NOON)

    assert shared.set(lambda: NOON + timedelta(milliseconds=50)) == timedelta(0)

    assert shared.now() == NOON + timedelta(milliseconds=5)


@pytest.mark.parametrize("seconds", [3600, -3600, 2])
def test_a_jump_of_the_server_is_followed_and_told(steps: list[float], seconds: int) -> None:
    """When the server's clock is set, so is ours, and the caller learns by how much."""
    shared = SharedClock()
    shared.set(lambda: NOON)
    steps.append(110.0)

    jump = shared.set(lambda: NOON + timedelta(seconds=10 + seconds))

    assert jump == timedelta(seconds=seconds)
    assert shared.now() == NOON + timedelta(seconds=10 + seconds)


def test_half_a_second_is_followed_without_a_word(steps: list[float]) -> None:
    """What is more than noise and less than a fault of somebody's is simply right afterwards."""
    shared = SharedClock()
    shared.set(lambda: NOON)

    assert shared.set(lambda: NOON + timedelta(seconds=0.5)) == timedelta(0)

    assert shared.now() == NOON + timedelta(seconds=0.5)


def test_an_answer_that_was_long_on_its_way_changes_nothing(steps: list[float]) -> None:
    """Within the time that it took, nobody knows when the server looked at its clock."""
    shared = SharedClock()
    shared.set(lambda: NOON)

    def answer_late() -> datetime:
        steps.append(106.0)
        return NOON + timedelta(seconds=6)

    assert shared.set(answer_late) == timedelta(0)

    assert shared.now() == NOON + timedelta(seconds=6)
