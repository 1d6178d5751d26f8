"""Rows that a test commits are there for its threads and child processes, on both aliases."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.db import connections

from tests.databases import ALIASES, Vendor
from tests.support import committed_data
from tests.testapp.models import Note

COUNT_NOTES = """
import django
django.setup()
from tests.testapp.models import Note
print([note.text for alias in ("default", "other") for note in Note.objects.using(alias).all()])
"""


def test_the_round_runs_on_the_database_that_it_says(database: Vendor) -> None:
    """A wrong environment cannot make one database pass for another."""
    spoken = {"sqlite": "sqlite", "postgresql": "postgresql", "mariadb": "mysql"}

    assert {connections[alias].vendor for alias in ALIASES} == {spoken[database]}


@committed_data
@pytest.mark.parametrize("alias", ALIASES)
async def test_a_coroutine_reads_what_another_wrote(alias: str) -> None:
    """Async ORM calls run in a thread of their own and see committed rows."""
    await Note.objects.using(alias).acreate(text="naïve 🗒")

    assert [note.text async for note in Note.objects.using(alias)] == ["naïve 🗒"]


@committed_data
def test_a_child_process_reads_what_the_test_wrote() -> None:
    """The environment leads a scheduler started by a test to that test's rows."""
    for alias in ALIASES:
        Note.objects.using(alias).create(text=f"in {alias}")

    child = subprocess.run(
        [sys.executable, "-c", COUNT_NOTES], text=True, capture_output=True, check=True
    )

    assert child.stdout.strip() == "['in default', 'in other']"
