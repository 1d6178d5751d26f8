"""How often the ends of runs are written."""

from __future__ import annotations

from typing import Any

import pytest

from async_apscheduler.engine import recorder
from async_apscheduler.models import DjangoJobExecution
from async_apscheduler.models.execution_words import ExecutionQuerySet
from tests.integration.conftest import Start, finished_run
from tests.support import await_until, committed_data
from tests.testapp import work

pytestmark = committed_data


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how many ends were written at a time."""
    seen: list[int] = []
    finish = ExecutionQuerySet.afinish

    async def note(self: ExecutionQuerySet, node_id: int, ends: list[dict[str, Any]]) -> int:
        seen.append(len(ends))
        return await finish(self, node_id, ends)

    monkeypatch.setattr(ExecutionQuerySet, "afinish", note)
    return seen


async def test_the_first_end_is_written_at_once_and_those_that_follow_it_together(
    start: Start, written: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit for each would cost most of what a scheduler with a steady stream of runs does."""
    monkeypatch.setattr(recorder, "GATHER", 2.0)
    scheduler = await start()
    await scheduler.aadd_job(work.mark, id="first")
    await finished_run("first")
    assert written == [1]

    for number in range(1, 4):
        await scheduler.aadd_job(work.mark, id=f"job {number}")
        await await_until(lambda number=number: len(work.seen) == 1 + number)

    async def all_are_written() -> bool:
        return await DjangoJobExecution.objects.finished().acount() == 4

    await await_until(all_are_written)
    assert sum(written) == 4
    assert len(written) < 4
