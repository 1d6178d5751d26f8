"""Rows that somebody else has locked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import models, transaction

from async_apscheduler._database import Lane

T = TypeVar("T")

LIMIT = 10
"""Seconds that nothing takes that need not wait for a lock."""


@contextmanager
def locked(row: models.Model) -> Iterator[None]:
    """Let a transaction in another thread hold the row."""
    is_locked, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        rows: Any = type(row)._default_manager
        with transaction.atomic():
            rows.select_for_update().get(pk=row.pk)
            is_locked.set()
            may_end.wait()

    lane = Lane("holder")
    end = lane.submit(hold)
    try:
        assert is_locked.wait(LIMIT)
        yield
    finally:
        may_end.set()
        end.result(LIMIT)
        lane.close()


def in_time(work: Callable[[], T]) -> T:
    """Return what `work` returns in a thread of its own, if that does not wait for a lock."""
    lane = Lane("test")
    try:
        result: T = lane.submit(work).result(LIMIT)
        return result
    finally:
        lane.close()
