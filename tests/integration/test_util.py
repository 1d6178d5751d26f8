"""The decorator close_old_connections, with a real database."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from async_apscheduler import util
from tests.support import committed_data
from tests.testapp.models import Note

pytestmark = committed_data


def opened() -> Any:
    """Return the driver's connection of this thread, or None."""
    return connections["default"].connection


@pytest.mark.parametrize("fails", [False, True])
def test_a_function_leaves_no_old_connection(fails: bool) -> None:
    """CONN_MAX_AGE is 0 here: what the call has opened is closed after it."""

    @util.close_old_connections
    def work() -> None:
        Note.objects.create(text="left by the job")
        assert opened() is not None
        if fails:
            raise ZeroDivisionError

    if fails:
        with pytest.raises(ZeroDivisionError):
            work()
    else:
        work()

    assert opened() is None
    assert Note.objects.count() == 1


@pytest.mark.parametrize("fails", [False, True])
async def test_a_coroutine_leaves_no_old_connection(fails: bool) -> None:
    """In the thread where its ORM calls were made."""

    @util.close_old_connections
    async def work() -> None:
        await Note.objects.acreate(text="left by the job")
        assert await sync_to_async(opened)() is not None
        if fails:
            raise ZeroDivisionError

    if fails:
        with pytest.raises(ZeroDivisionError):
            await work()
    else:
        await work()

    assert await sync_to_async(opened)() is None
    assert await Note.objects.acount() == 1
