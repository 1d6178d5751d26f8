"""A process that belongs to one scheduler."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, cast

import pytest

from async_apscheduler.engine.runner import Runner
from async_apscheduler.management.process import (
    COLLECTION,
    SIGNALS,
    collect_garbage_less_often,
    handlers_restored,
    run_loop,
    run_with_signals,
)
from tests.benchmarks.project import COLLECTION as OF_THE_BENCHMARKS


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


def test_the_scheduler_works_under_them() -> None:
    """They are set before its loop begins."""
    gc.set_threshold(700, 10, 10)
    found: list[tuple[int, int, int]] = []

    async def work() -> None:
        found.append(gc.get_threshold())

    run_loop(cast(Any, None), work())  # the runner is asked only when the loop is to end

    assert found[0][:2] == COLLECTION[:2]


def test_the_benchmarks_measure_under_them() -> None:
    """They cannot import them: some peers' environments lack what ours needs."""
    assert OF_THE_BENCHMARKS == COLLECTION


@pytest.mark.parametrize("own", [0, 50_000], ids=["switched off", "higher"])
def test_what_the_project_has_set_for_the_collector_counts(own: int) -> None:
    """It knows its jobs better."""
    gc.set_threshold(own, 10, 10)

    collect_garbage_less_often()

    assert gc.get_threshold()[0] == own


class Ending:
    """A runner that has come to its end."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    async def run(self) -> None:
        """End, well or not."""
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Never called."""


@pytest.mark.parametrize("error", [None, RuntimeError("ends badly")], ids=["well", "badly"])
def test_signals_do_nothing_from_the_end_of_the_runner_to_that_of_the_command(
    error: Exception | None,
) -> None:
    """Then one would kill the process; afterwards they are what they were for the caller."""
    before = [signal.getsignal(number) for number in SIGNALS]

    with handlers_restored():
        with nullcontext() if error is None else pytest.raises(RuntimeError, match="ends badly"):
            asyncio.run(run_with_signals(cast(Runner, Ending(error))))
        at_the_end = [signal.getsignal(number) for number in SIGNALS]

    assert at_the_end == [signal.SIG_IGN] * len(SIGNALS)
    assert [signal.getsignal(number) for number in SIGNALS] == before
