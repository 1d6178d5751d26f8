"""Queries that are compiled once say what Django's own would say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import pytest
from django.db import connection, connections
from django.db.models import Exists, OuterRef
from django.test.utils import CaptureQueriesContext

from async_apscheduler.models import DjangoJob, DjangoJobExecution, Status, compiled
from async_apscheduler.models.compiled import Change, Question, Slot
from async_apscheduler.models.fields import MomentField
from tests.support import committed_data
from tests.testapp import work

pytestmark = pytest.mark.django_db

NOON = datetime(2030, 5, 1, 12, tzinfo=UTC)


def due_of(environment: str, room: int) -> Any:
    """Return a query with each kind of column that the engine asks for."""
    runs = DjangoJobExecution.objects.filter(job_id=OuterRef("pk"))
    jobs = DjangoJob.objects.filter(environment=environment)
    due = jobs.due(Slot("now", MomentField()))
    return due.values_list("pk", "version", "next_run_time", Exists(runs))[:room]


def schedule(number: int) -> DjangoJob:
    """Return a job that is due some hours after noon."""
    at = NOON + timedelta(hours=number)
    return DjangoJob.objects.schedule(work.mark, "date", run_date=at, id=f"job-{number}")


def test_the_rows_have_the_types_of_django() -> None:
    """Moments are aware and in UTC, truth is a bool, text is text; on every database."""
    job = schedule(0)
    job.run()

    rows = Question(due_of).ask("", 5, now=NOON)

    assert rows == [("job-0", job.version, NOON, True)]
    assert rows[0][2].tzinfo is UTC
    assert rows[0][3] is True


def test_values_and_shapes_change_from_one_time_to_the_next() -> None:
    """What is in a slot is sent, and another shape is another query."""
    for number in range(3):
        schedule(number)
    question = Question(due_of)

    assert question.ask("", 5, now=NOON - timedelta(seconds=1)) == []
    assert len(question.ask("", 5, now=NOON + timedelta(hours=1))) == 2
    assert len(question.ask("", 1, now=NOON + timedelta(hours=1))) == 1
    assert question.ask("another", 5, now=NOON + timedelta(hours=1)) == []


def test_a_query_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is its point; only when there are too many shapes it starts afresh."""
    built = []

    def build(room: int) -> Any:
        built.append(room)
        return due_of("", room)

    monkeypatch.setattr(compiled, "MOST_VARIANTS", 2)
    question = Question(build)

    for room in (1, 1, 2, 1, 2):
        question.ask(room, now=NOON)
    for room in (3, 1):
        question.ask(room, now=NOON)

    assert built == [1, 2, 3, 1]


def test_a_change_tells_how_many_rows_it_found() -> None:
    """The update has slots for the rows and for what they get."""
    job = schedule(0)
    run = job.run()
    status = DjangoJobExecution._meta.get_field("status")
    key = DjangoJobExecution._meta.pk
    change = Change(
        lambda: (
            DjangoJobExecution.objects.filter(pk=Slot("key", key)),
            {"status": Slot("to", status)},
        )
    )

    with CaptureQueriesContext(connection) as queries:
        found = [change.make(key=pk, to=Status.RUNNING) for pk in (run.pk, run.pk + 1)]

    run.refresh_from_db()
    assert found == [1, 0]
    assert len(queries) == 2
    assert run.status == Status.RUNNING


def test_slots_stand_in_a_list_of_related_rows() -> None:
    """Django prepares the values of such a list in its own way, and must leave slots alone."""
    runs = [schedule(number).run() for number in range(3)]
    job_id = DjangoJobExecution._meta.get_field("job_id")
    slots = [Slot("one", job_id), Slot("other", job_id)]
    question = Question(
        lambda: DjangoJobExecution.objects.filter(job_id__in=slots).values_list("pk")
    )

    found = question.ask(one="job-0", other="job-2")

    assert {pk for (pk,) in found} == {runs[0].pk, runs[2].pk}


def test_a_slot_that_nobody_fills_is_an_error() -> None:
    """It is named."""
    with pytest.raises(KeyError, match="now"):
        Question(due_of).ask("", 5)


@committed_data
def test_another_thread_asks_on_its_own_connection() -> None:
    """A lane whose thread was given up goes on with what was compiled in the one before."""
    schedule(0)
    question = Question(due_of)
    answers = [question.ask("", 5, now=NOON)]

    def ask() -> None:
        answers.append(question.ask("", 5, now=NOON))
        connections.close_all()

    thread = Thread(target=ask)
    thread.start()
    thread.join()

    assert answers[0] == answers[1] != []
