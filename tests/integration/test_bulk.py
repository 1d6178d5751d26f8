"""Many rows by one statement: what goes in comes out, on every database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from async_apscheduler._database import send_together
from async_apscheduler.models import DjangoJob, DjangoJobExecution, JobChange, Status, bulk
from async_apscheduler.models.bulk import insert_each, insertions, update_each
from async_apscheduler.models.scheduling import job_values
from async_apscheduler.triggers import create_trigger
from tests.testapp import work

pytestmark = pytest.mark.django_db

NOON = datetime(2030, 5, 1, 12, tzinfo=UTC)
TWINS = ["Job", "job", "é", "e", "a", "a ", "😀", "line\nbreak", "quo'te\"s\\", "%s", "0"]
"""Ids that some collation or some quoting takes for one another."""
AWKWARD = ["NULL", "null", "", "{}", "{a,b}", "a,b", '"', '""', "\\", "\\\\", '\\"', "\t", "$1"]
"""Ids that would end or change the literal that they stand in, if it did not quote them."""


def rows_of(job_ids: list[str], **columns: Any) -> list[dict[str, Any]]:
    """Return rows of runs, a second apart."""
    return [
        {
            "job_id": job_id,
            "run_time": NOON + timedelta(seconds=number),
            "status": Status.RUNNING,
            "node_id": 7,
            **columns,
        }
        for number, job_id in enumerate(job_ids)
    ]


def insert(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Insert rows of runs; return their keys by job."""
    statements = insertions(DjangoJobExecution, "default", rows, returning=("job_id", "id"))
    made = send_together("default", statements)
    if None in made:
        return dict(DjangoJobExecution.objects.values_list("job_id", "pk"))
    return dict(chain.from_iterable(made))


def add_jobs(job_ids: list[str]) -> None:
    """Add a job for each id."""
    trigger = create_trigger("interval", {"hours": 1}, timezone=UTC)
    for job_id in job_ids:
        values = job_values(work.mark, trigger, id=job_id, args=None, kwargs=None)
        DjangoJob.objects.create(**values)


@pytest.mark.parametrize(
    "job_ids", [["only"], TWINS, AWKWARD], ids=["one row", "many", "what a literal must quote"]
)
def test_inserted_rows_are_there_as_they_were_given(job_ids: list[str]) -> None:
    """Ids, times and defaults arrive exactly, and each key belongs to its row."""
    keys = insert(rows_of(job_ids, started_at=NOON))

    found = {run.job_id: run for run in DjangoJobExecution.objects.all()}
    assert set(found) == set(job_ids)
    assert {job_id: run.pk for job_id, run in found.items()} == keys
    for number, job_id in enumerate(job_ids):
        run = found[job_id]
        assert run.run_time == NOON + timedelta(seconds=number)
        assert (run.started_at, run.status, run.node_id) == (NOON, "running", 7)
        assert (run.reason, run.fires, run.attempt, run.progress) == ("", 1, 1, None)


def test_inserted_objects_are_the_rows_that_django_would_make() -> None:
    """With values of all kinds in each column: equal, different, structured and missing ones."""
    given = [
        DjangoJob(
            id=job_id,
            name=job_id,
            func="a:b",
            args=[job_id, {"nested": [number, None, True]}],
            kwargs={} if number % 2 else {"é": 0.5},
            trigger={"type": "date"},
            coalesce=bool(number % 2),
            misfire_grace_time=number or None,
            timeout=number / 2 if number % 3 else None,
            next_run_time=NOON + timedelta(microseconds=number),
            declaration=None if number % 2 else {"name": job_id},
        )
        for number, job_id in enumerate([*TWINS, *AWKWARD])
    ]
    DjangoJob.objects.bulk_create(given)
    expected = list(DjangoJob.objects.order_by("pk").values())
    DjangoJob.objects.all().delete()

    insert_each(DjangoJob, "default", given)

    assert list(DjangoJob.objects.order_by("pk").values()) == expected


def test_inserted_objects_get_keys_of_their_own() -> None:
    """Where the database makes them."""
    changes = [JobChange(job_id=job_id, action="added", after={"n": 1}) for job_id in TWINS]

    insert_each(JobChange, "default", changes)

    assert sorted(JobChange.objects.values_list("job_id", flat=True)) == sorted(TWINS)
    assert {change.after["n"] for change in JobChange.objects.all()} == {1}


def test_updated_rows_hold_what_each_was_given() -> None:
    """Values of all kinds are written to their own row: equal, different and missing ones."""
    keys = insert(rows_of(TWINS))
    ends = [
        {
            "id": key,
            "status": Status.SUCCEEDED,
            "finished_at": NOON + timedelta(microseconds=number),
            "duration": number / 7,
            "return_value": [True, 1, 1.0, None, {"text": job_id}][number % 5],
            "log": job_id * 3,
            "exception": "",
        }
        for number, (job_id, key) in enumerate(keys.items())
    ]

    found = update_each(DjangoJobExecution, "default", ends, key="id")

    assert found == len(TWINS)
    for end in ends:
        run = DjangoJobExecution.objects.get(pk=end["id"])
        assert {name: getattr(run, name) for name in end} == end
        assert type(run.return_value) is type(end["return_value"])


def test_rows_that_have_changed_meanwhile_are_left_alone() -> None:
    """`unless_changed` is part of the WHERE, for one row as for many."""
    keys = list(insert(rows_of(["a", "b", "c"])).values())
    DjangoJobExecution.objects.filter(pk=keys[0]).update(node_id=8)
    ends = [{"id": key, "status": Status.FAILED, "log": f"{key}"} for key in keys]
    own = {"node_id": 7, "status": Status.RUNNING}

    one = update_each(DjangoJobExecution, "default", ends[:1], key="id", unless_changed=own)
    all_of_them = update_each(DjangoJobExecution, "default", ends, key="id", unless_changed=own)

    assert (one, all_of_them) == (0, 2)
    statuses = DjangoJobExecution.objects.in_bulk(keys)
    assert [statuses[key].status for key in keys] == ["running", "failed", "failed"]


def test_a_text_as_key_compares_exactly() -> None:
    """On MariaDB, too, `Job` and `job` are two rows to an update."""
    add_jobs(TWINS)
    moments = [
        {"id": job_id, "next_run_time": NOON + timedelta(hours=number)}
        for number, job_id in enumerate(TWINS)
    ]

    assert update_each(DjangoJob, "default", moments, key="id") == len(TWINS)

    found = dict(DjangoJob.objects.values_list("pk", "next_run_time"))
    assert found == {row["id"]: row["next_run_time"] for row in moments}


def test_nothing_is_asked_of_the_database_for_no_rows() -> None:
    """An empty list is no statement."""
    with CaptureQueriesContext(connection) as queries:
        assert update_each(DjangoJob, "default", [], key="id") == 0

    assert len(queries) == 0


@pytest.mark.parametrize("limit", ["MAX_ROWS", "MAX_TEXT"])
def test_too_many_rows_for_one_statement_make_several(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """Rows and characters of a statement are bounded, and none is left out."""
    monkeypatch.setattr(bulk, limit, 4)
    job_ids = [f"job-{number}" for number in range(10)]

    keys = insert(rows_of(job_ids))
    ends = [{"id": key, "log": "x" * 3, "duration": float(key)} for key in keys.values()]
    found = update_each(DjangoJobExecution, "default", ends, key="id")

    assert (set(keys), found) == (set(job_ids), 10)
    assert DjangoJobExecution.objects.filter(log="xxx").count() == 10


def test_a_thousand_rows_with_long_texts_fit() -> None:
    """A batch of failures with tracebacks is larger than what some servers take at once."""
    keys = insert(rows_of([f"job-{number}" for number in range(1000)]))
    ends = [
        {"id": key, "status": Status.FAILED, "traceback": f"{key} ".ljust(30_000, "é")}
        for key in keys.values()
    ]

    assert update_each(DjangoJobExecution, "default", ends, key="id") == 1000

    some = DjangoJobExecution.objects.get(pk=ends[-1]["id"])
    assert some.traceback == ends[-1]["traceback"]


def test_rows_that_get_the_same_are_updated_together() -> None:
    """One statement whose values are sent once; ids that look alike are told apart."""
    keys = insert(rows_of(TWINS))
    same = {"status": Status.SUCCEEDED, "duration": 2.5}

    with CaptureQueriesContext(connection) as queries:
        found = update_each(
            DjangoJobExecution,
            "default",
            [{"id": keys[job_id], **same} for job_id in TWINS[1:]],
            key="id",
        )

    left = DjangoJobExecution.objects.exclude(duration=2.5)
    assert found == len(TWINS) - 1
    assert len([query for query in queries if query["sql"].startswith("UPDATE")]) == 1
    assert [run.job_id for run in left] == TWINS[:1]


def test_runs_are_counted_by_job() -> None:
    """Only running ones of nodes; ids that look alike are told apart."""
    rows = rows_of(TWINS)
    rows[0]["status"] = Status.SUCCEEDED
    rows[1]["node_id"] = None
    insert(rows)
    insert([{**row, "run_time": NOON - timedelta(days=1)} for row in rows[2:4]])

    counted = DjangoJobExecution.objects.count_running(TWINS[:6])

    assert counted == {TWINS[2]: 2, TWINS[3]: 2, TWINS[4]: 1, TWINS[5]: 1}
    assert DjangoJobExecution.objects.count_running([]) == {}


IDS = [*TWINS, *[text for text in AWKWARD if text]]


@pytest.mark.parametrize("job_ids", [[], ["only"], TWINS, IDS])
def test_jobs_are_found_by_their_ids_and_no_others_are(job_ids: list[str]) -> None:
    """Byte for byte, whatever the ids hold."""
    add_jobs(["another", "only", *IDS])

    found = DjangoJob.objects.all().with_keys(job_ids).filter(status="scheduled")

    assert sorted(job.pk for job in found) == sorted(job_ids)
