"""The lists and pages of runs, nodes and changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone

from async_apscheduler.admin import paginators
from async_apscheduler.models import DjangoJob, DjangoJobExecution, JobChange, Reason, Status
from tests.integration.admin_support import (
    HOSTILE_IDS,
    NOON,
    ago,
    column,
    links,
    make_job,
    make_node,
    make_run,
    url,
)

pytestmark = pytest.mark.django_db


@override_settings(TIME_ZONE="UTC")
def test_the_list_of_runs_tells_how_each_went(admin_client: Client) -> None:
    """Each column says what its heading promises."""
    make_job("report", name="Daily report")
    make_run(
        "report",
        Status.FAILED,
        run_time=NOON,
        started_at=NOON + timedelta(milliseconds=250),
        duration=65.0,
        node=make_node(name="worker"),
        exception="ValueError: <b>\nsecond line",
    )

    page = admin_client.get(url("djangojobexecution"))

    assert column(page, "scheduled") == ["June 1, 2026, 12:00:00 p.m."]
    assert column(page, "job_link") == ["Daily report report"]
    assert column(page, "state") == ["failed"]
    assert column(page, "late") == ["250 ms"]
    assert column(page, "took") == ["1 min 5 s"]
    assert column(page, "node_link")[0].startswith("worker (#")
    assert column(page, "error") == ["ValueError: <b>"]
    assert 'apscheduler-bad" title="">failed<' in page.content.decode()


def test_runs_without_job_or_node_are_listed(admin_client: Client) -> None:
    """The history outlives both, and says what it still knows."""
    make_run("gone", Status.SUCCEEDED, node_id=987_654)

    page = admin_client.get(url("djangojobexecution"))
    opened = admin_client.get(
        url("djangojobexecution", "change", DjangoJobExecution.objects.get().pk)
    )

    assert column(page, "job_link") == ["gone removed"]
    assert column(page, "node_link") == ["#987654"]
    assert "#987654" in opened.content.decode()
    assert "/djangojob/gone/" not in page.content.decode()


def test_an_unknown_status_is_shown_as_it_is(admin_client: Client) -> None:
    """A newer version may have written the row."""
    make_job()
    make_run("report", "unheard", reason="mysterious")

    history = admin_client.get(url("djangojobexecution"))
    jobs = admin_client.get(url("djangojob"))
    page = admin_client.get(
        url("djangojobexecution", "change", DjangoJobExecution.objects.get().pk)
    )

    assert column(history, "state") == ["unheard"]
    assert column(history, "error") == ["mysterious"]
    assert column(jobs, "last_run") == ["unheard"]
    assert page.status_code == 200


def test_a_skipped_run_says_why_in_the_list(admin_client: Client) -> None:
    """Nobody should have to open a page for that."""
    make_run(status=Status.SKIPPED, reason=Reason.MISSED)

    page = admin_client.get(url("djangojobexecution"))

    assert column(page, "error") == ["missed: later than its grace time"]


@pytest.mark.parametrize("model", ["djangojobexecution", "jobchange"])
def test_the_number_of_queries_does_not_grow_with_the_rows(
    admin_client: Client, model: str
) -> None:
    """A hundred rows of a hundred jobs cost as many queries as five."""
    counted = []
    for jobs in (range(5), range(5, 100)):
        for number in jobs:
            make_job(f"job-{number}")
            make_run(f"job-{number}", node=make_node(), exception="E: e")
        with CaptureQueriesContext(connections["default"]) as queries:
            page = admin_client.get(url(model))
        counted.append(len(queries))

    assert len(page.context["cl"].result_list) == 100
    assert counted[0] == counted[1]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["gone", "report", "report"]),
        ({"status__exact": "failed"}, ["gone"]),
        ({"reason__exact": "missed"}, ["report"]),
        ({"scheduled": "hour"}, ["report"]),
        ({"scheduled": "week"}, ["gone", "report"]),
        ({"job": "gone"}, ["gone"]),
        ({"node": "777"}, ["gone"]),
        ({"q": "gon"}, ["gone"]),
        ({"q": "broken ladder"}, ["gone"]),
        ({"q": "elsewhere"}, []),
    ],
)
def test_filters_and_search_find_runs(
    admin_client: Client, query: dict[str, str], found: list[str]
) -> None:
    """Runs are found by status, reason, time, job and node, and by id and exception."""
    make_run("gone", Status.FAILED, run_time=ago(days=2), node_id=777, exception="A broken ladder")
    make_run("report", Status.SUCCEEDED, run_time=ago(minutes=5))
    make_run("report", Status.SKIPPED, run_time=ago(days=9), reason=Reason.MISSED)

    page = admin_client.get(url("djangojobexecution"), query)

    assert sorted(cell.split()[0] for cell in column(page, "job_link")) == found


@pytest.mark.parametrize("node", ["none", "-1", "9" * 30, "٣x"])
def test_a_filter_by_nonsense_leads_to_the_unfiltered_list(admin_client: Client, node: str) -> None:
    """As everywhere in Django's admin."""
    page = admin_client.get(url("djangojobexecution"), {"node": node})

    assert (page.status_code, page["Location"]) == (302, f"{url('djangojobexecution')}?e=1")


@override_settings(TIME_ZONE="Pacific/Kiritimati")
def test_today_begins_at_the_midnight_of_time_zone(admin_client: Client) -> None:
    """Fourteen hours ahead of UTC it is another day."""
    midnight = timezone.localtime(datetime.now(UTC)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    make_run("today", run_time=midnight)
    make_run("yesterday", run_time=midnight - timedelta(microseconds=1))

    page = admin_client.get(url("djangojobexecution"), {"scheduled": "today"})

    assert column(page, "job_link") == ["today removed"]


@pytest.mark.parametrize(
    ("order", "first"),
    [
        *(("1", "a"), ("-1", "b"), ("-2", "b"), ("3", "b")),
        *(("4", "a"), ("-4", "b"), ("5", "b"), ("6", "b"), ("-6", "a")),
    ],
)
def test_runs_are_sorted_by_the_column_asked_for(
    admin_client: Client, order: str, first: str
) -> None:
    """By time, job, status, lateness, duration and node."""
    later = NOON + timedelta(hours=1)
    punctual = {"run_time": NOON, "started_at": NOON + timedelta(seconds=1)}
    make_run("a", Status.SUCCEEDED, **punctual, duration=2.0, node_id=2)
    late = {"run_time": later, "started_at": later + timedelta(minutes=1)}
    make_run("b", Status.FAILED, **late, duration=1.0, node_id=1)

    page = admin_client.get(url("djangojobexecution"), {"o": order})

    assert column(page, "job_link")[0] == f"{first} removed"


def test_a_long_history_is_not_counted_to_its_end(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list ends at the limit and says so; filters reach the rest."""
    monkeypatch.setattr(paginators, "MAX_COUNTED", 150)
    DjangoJobExecution.objects.bulk_create(
        DjangoJobExecution(
            job_id="j", run_time=NOON + timedelta(seconds=second), status=Status.SUCCEEDED
        )
        for second in range(160)
    )

    with CaptureQueriesContext(connections["default"]) as queries:
        page = admin_client.get(url("djangojobexecution"))
    counts = [query["sql"] for query in queries if "COUNT(" in query["sql"]]
    last = admin_client.get(url("djangojobexecution"), {"p": "2"})
    beyond = admin_client.get(url("djangojobexecution"), {"p": "3"})

    assert "There are more than these 150." in page.content.decode()
    assert len(column(last, "state")) == 50
    assert beyond.status_code == 302
    assert len(counts) == 1
    assert "LIMIT 151" in counts[0]


def test_a_history_within_the_limit_says_nothing_of_it(admin_client: Client) -> None:
    """The usual case needs no explanation."""
    make_run()

    page = admin_client.get(url("djangojobexecution"))

    assert "There are more than these" not in page.content.decode()


def test_the_page_of_a_run_shows_everything_as_text(admin_client: Client) -> None:
    """Traceback, log, result and progress, escaped."""
    run = make_run(
        status=Status.FAILED,
        started_at=NOON,
        finished_at=NOON,
        duration=0.5,
        exception="ValueError: <script>1",
        traceback="Traceback:\n  <script>2",
        log="INFO <script>3",
        return_value={"html": "<script>4"},
        progress={"done": 3, "total": 4, "message": "<script>5"},
        requested_by="<script>6",
        cancelled_by="<script>7",
        db_queries=123,
    )

    page = admin_client.get(url("djangojobexecution", "change", run.pk)).content.decode()

    for number in range(1, 8):
        assert f"&lt;script&gt;{number}" in page
        assert f"<script>{number}" not in page
    assert '<pre class="apscheduler-block">Traceback:\n  ' in page
    assert '<progress max="4" value="3">' in page
    assert "123" in page


@pytest.mark.parametrize(
    "progress", [{"done": 3, "total": None, "message": ""}, {"done": "x"}, [1], "text", {}]
)
def test_any_progress_is_shown_or_left_out(admin_client: Client, progress: object) -> None:
    """Without a total there is no bar; what nobody can read breaks nothing."""
    run = make_run(progress=progress)

    page = admin_client.get(url("djangojobexecution", "change", run.pk))

    assert page.status_code == 200


def test_runs_can_neither_be_added_nor_edited(admin_client: Client) -> None:
    """History is written by schedulers."""
    run = make_run()

    added = admin_client.post("/admin/async_apscheduler/djangojobexecution/add/", {"job": "x"})
    edited = admin_client.post(url("djangojobexecution", "change", run.pk), {"status": "failed"})

    assert (added.status_code, edited.status_code) == (403, 403)


def test_the_list_of_nodes_tells_who_lives(admin_client: Client) -> None:
    """A node that should live but is silent is told apart, also when a clock is ahead."""
    make_node(name="well", running=3, versions={"django": "5.2", "python": "3.11"})
    make_node(name="ahead", heartbeat_at=ago(seconds=-90))
    make_node(name="frozen", heartbeat_at=ago(minutes=5))
    make_node(name="old", state="stopped", heartbeat_at=ago(hours=5))
    lost = make_node(name="dead", state="lost", heartbeat_at=ago(hours=6))

    page = admin_client.get(url("schedulernode"))
    opened = admin_client.get(url("schedulernode", "change", lost.pk)).content.decode()

    assert [cell.split()[0] for cell in column(page, "node")] == [
        *("ahead", "well", "frozen", "old", "dead"),
    ]
    assert column(page, "condition") == ["running", "running", "silent", "stopped", "lost"]
    assert column(page, "load")[1] == "3 / 9"
    assert column(page, "software")[1] == "django 5.2, python 3.11"
    assert column(page, "sign_of_life")[2].endswith("5 minutes ago")
    assert f"/djangojobexecution/?node={lost.pk}" in opened


def test_the_list_of_changes_tells_who_did_what(admin_client: Client) -> None:
    """From what to what, without secrets; the job may be gone."""
    job = make_job("report", name="Daily report")
    job.pause(by="alice")
    job.remove(by="bob")
    JobChange.objects.create(
        job_id="report", action="changed", before={}, after={"kwargs": {"password": "s3cr3t"}}
    )

    page = admin_client.get(url("jobchange"))
    opened = admin_client.get(url("jobchange", "change", JobChange.objects.latest("pk").pk))

    assert column(page, "deed") == ["changed", "removed", "paused", "added"]
    assert column(page, "changed_by") == ["-", "bob", "alice", "-"]
    assert column(page, "job")[0] == "report removed"
    assert "status: scheduled → paused" in column(page, "what")[2]
    assert "s3cr3t" not in column(page, "what")[0]
    assert "password" in opened.content.decode()
    assert "s3cr3t" not in opened.content.decode()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"action__exact": "paused"}, ["paused"]),
        ({"job": "other"}, ["added"]),
        ({"q": "alice"}, ["paused"]),
    ],
)
def test_filters_and_search_find_changes(
    admin_client: Client, query: dict[str, str], found: list[str]
) -> None:
    """Changes are found by action, job and user."""
    make_job("report").pause(by="alice")
    make_job("other")

    page = admin_client.get(url("jobchange"), query)

    assert column(page, "deed") == found


@pytest.mark.parametrize("model", ["schedulernode", "jobchange"])
def test_nodes_and_changes_are_only_looked_at(admin_client: Client, model: str) -> None:
    """Not even a superuser adds, edits or deletes them."""
    node = make_node()
    JobChange.objects.create(pk=node.pk, job_id="x", action="added")

    answers = [
        admin_client.post(f"/admin/async_apscheduler/{model}/add/", {"name": "x"}),
        admin_client.post(url(model, "change", node.pk), {"name": "x"}),
        admin_client.post(url(model, "delete", node.pk), {"post": "yes"}),
        admin_client.post(
            url(model), {"action": "delete_selected", "_selected_action": [node.pk], "post": "yes"}
        ),
    ]

    assert [answer.status_code for answer in answers] == [403, 403, 403, 200]
    assert JobChange.objects.count() == 1
    node.refresh_from_db()


@pytest.mark.parametrize("job_id", HOSTILE_IDS)
def test_lists_link_to_jobs_of_any_id(admin_client: Client, job_id: str) -> None:
    """Runs and changes lead to the page of their job."""
    job = make_job(job_id)
    make_run(job_id)

    for model in ("djangojobexecution", "jobchange"):
        page = admin_client.get(url(model), {"job": job_id})

        assert url("djangojob", "change", job.pk) in links(page)
        assert "<img src=x" not in page.content.decode()


@pytest.mark.django_db(databases=["default", "other"])
@override_settings(ASYNC_APSCHEDULER={"DATABASE": "other"})
def test_rows_may_live_in_another_database(admin_client: Client) -> None:
    """Lists and pages read where the setting says; log and sessions stay where they are."""
    job = make_job("report")
    run = make_run("report", node=make_node())

    for model, key in (("djangojob", job.pk), ("djangojobexecution", run.pk)):
        listed = admin_client.get(url(model))
        page = admin_client.get(url(model, "change", key))

        assert column(listed, "state") in (["scheduled"], ["succeeded"])
        assert page.status_code == 200
    assert DjangoJob.objects.using("other").count() == 1
