"""A process that belongs to one scheduler."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from async_apscheduler.management.process import COLLECTION, collect_garbage_less_often


@pytest.fixture(autouse=True)
def thresholds_of_the_tests() -> Iterator[None]:
    """Leave the tests' own process as it was."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_the_garbage_collector_comes_less_often() -> None:
    """Python's own thresholds are raised."""
    gc.set_threshold(700, 10, 10)

    collect_garbage_less_often()

    assert gc.get_threshold()[:2] == COLLECTION[:2]


@pytest.mark.parametrize("own", [0, 50_000], ids=["switched off", "higher"])
def test_what_the_project_has_set_for_the_collector_counts(own: int) -> None:
    """It knows its jobs better."""
    gc.set_threshold(own, 10, 10)

    collect_garbage_less_often()

    assert gc.get_threshold()[0] == own
