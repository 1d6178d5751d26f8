"""The list of jobs and the page of one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone

from async_apscheduler.admin.jobs import DjangoJobAdmin
from async_apscheduler.models import DjangoJob, DjangoJobExecution, Status
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
from tests.testapp import functions, work

pytestmark = pytest.mark.django_db

RUNS = DjangoJobExecution._meta.db_table


def test_the_list_tells_what_runs_when_and_how_it_went(admin_client: Client) -> None:
    """Each column says what its heading promises."""
    make_job("report", name="Daily report", next_run_time=timezone.now() + timedelta(minutes=4.5))
    make_run("report", Status.SUCCEEDED, run_time=ago(hours=2), duration=1.0)
    make_run("report", Status.SUCCEEDED, run_time=ago(hours=1), duration=2.0)
    make_run("report", Status.SUCCEEDED, run_time=ago(hours=25), duration=500.0)
    make_run("report", Status.FAILED, run_time=ago(minutes=1), duration=700.0)

    page = admin_client.get(url("djangojob"))

    assert column(page, "job") == ["Daily report report"]
    assert column(page, "function") == ["anote tests.testapp.work"]
    assert column(page, "trigger_in_words") == ["every 5 minutes"]
    assert column(page, "next_run")[0].startswith("in 4 minutes ")
    assert column(page, "state") == ["scheduled"]
    assert column(page, "last_run") == ["failed"]
    assert column(page, "mean_duration") == ["1.5 s"]


def test_a_job_that_never_ran_has_empty_cells(admin_client: Client) -> None:
    """No run is no status and no duration."""
    make_job()

    page = admin_client.get(url("djangojob"))

    assert column(page, "last_run") == ["-"]
    assert column(page, "mean_duration") == ["-"]


def test_a_job_that_runs_once_a_week_has_a_duration(admin_client: Client) -> None:
    """Without a success in the last 24 hours that of the last one is shown."""
    make_job("weekly")
    make_run("weekly", run_time=ago(days=9), duration=700.0)
    make_run("weekly", run_time=ago(days=2), duration=5.0)
    make_run("weekly", Status.FAILED, run_time=ago(days=1, hours=1), duration=700.0)

    page = admin_client.get(url("djangojob"))

    assert column(page, "mean_duration") == ["5.0 s"]


def test_the_number_of_queries_does_not_grow_with_the_jobs(admin_client: Client) -> None:
    """A hundred jobs with their runs cost as many queries as five."""
    counted = []
    for jobs in (range(5), range(5, 100)):
        for number in jobs:
            make_job(f"job-{number}")
            make_run(f"job-{number}", run_time=ago(hours=1), duration=1.0)
        with CaptureQueriesContext(connections["default"]) as queries:
            page = admin_client.get(url("djangojob"))
        counted.append(len(queries))

    assert len(column(page, "mean_duration")) == 100
    assert counted[0] == counted[1]


def test_the_runs_of_jobs_on_other_pages_are_left_alone(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sees them, and there may be millions."""
    monkeypatch.setattr(DjangoJobAdmin, "list_per_page", 2)
    for name in ("one", "two", "three"):
        make_job(name, name="", next_run_time=NOON)

    with CaptureQueriesContext(connections["default"]) as queries:
        page = admin_client.get(url("djangojob"), {"p": "2"})
    (about_runs,) = (query["sql"] for query in queries if RUNS in query["sql"])

    assert column(page, "job") == ["two"]
    assert "'two'" in about_runs
    assert "IN (" in about_runs


def test_a_job_that_is_removed_while_the_list_is_made_is_left_out(admin_client: Client) -> None:
    """The others are shown."""
    make_job("stays", name="")
    make_job("goes", name="")

    def remove_first(execute: Any, sql: str, *others: Any) -> Any:
        if RUNS in sql:
            DjangoJob.objects.filter(pk="goes").delete()
        return execute(sql, *others)

    with connections["default"].execute_wrapper(remove_first):
        page = admin_client.get(url("djangojob"))

    assert column(page, "job") == ["stays"]


@pytest.mark.parametrize("job_id", HOSTILE_IDS)
def test_any_id_is_listed_as_text_and_its_links_work(admin_client: Client, job_id: str) -> None:
    """The link in the list leads to the page of that very job, whose links lead on."""
    make_job(job_id, name="")
    make_run(job_id)

    page = admin_client.get(url("djangojob"))
    to_page = next(link for link in links(page) if link.endswith("/change/"))
    to_history = next(link for link in links(page) if "?job=" in link)
    opened = admin_client.get(to_page)
    history = admin_client.get(to_history)

    assert "<img src=x" not in page.content.decode()
    assert opened.context["original"].pk == job_id
    assert "<img src=x" not in opened.content.decode()
    assert column(history, "state") == ["succeeded"]


def test_the_list_is_sorted_by_the_next_run_with_paused_jobs_last(admin_client: Client) -> None:
    """What happens next stands first."""
    make_job("later", next_run_time=NOON + timedelta(hours=1))
    make_job("paused").pause()
    make_job("sooner", next_run_time=NOON)

    page = admin_client.get(url("djangojob"))

    assert column(page, "job") == ["anote sooner", "anote later", "anote paused"]


@pytest.mark.parametrize("heading", [1, 2, 4, 5, 6, 7])
@pytest.mark.parametrize("direction", ["", "-"])
def test_other_columns_sort_too(admin_client: Client, heading: int, direction: str) -> None:
    """Every heading but the trigger's sorts in both directions."""
    make_job("a", name="a", func="a:a", next_run_time=NOON)
    make_job("b", name="b", func="b:b", next_run_time=NOON + timedelta(days=1), status="unknown")
    make_run("a", Status.FAILED, run_time=ago(hours=1))
    make_run("a", Status.SUCCEEDED, run_time=ago(hours=2), duration=1)
    make_run("b", Status.LOST, run_time=ago(hours=1))
    make_run("b", Status.SUCCEEDED, run_time=ago(hours=2), duration=2)

    page = admin_client.get(url("djangojob"), {"o": f"{direction}{heading}"})

    assert column(page, "job") == (["a", "b"] if direction == "" else ["b", "a"])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"status__exact": "paused"}, ["anote second"]),
        ({"source__exact": "declared"}, ["anote first"]),
        ({"executor": "celery"}, ["anote first"]),
        ({"last_status": "failed"}, ["anote second"]),
        ({"last_status": "never"}, ["anote first"]),
        ({"q": "secon"}, ["anote second"]),
        ({"q": "testapp.work"}, ["anote first", "anote second"]),
        ({"q": "elsewhere"}, []),
    ],
)
def test_filters_and_search_find_jobs(
    admin_client: Client, query: dict[str, str], found: list[str]
) -> None:
    """Jobs are found by status, source, executor, last status, and by parts of their texts."""
    make_job("first", source=DjangoJob.Source.DECLARED, executor="celery")
    make_job("second").pause()
    make_run("second", Status.FAILED)

    page = admin_client.get(url("djangojob"), {**query, "o": "1"})

    assert sorted(column(page, "job")) == found


def test_a_quarantined_job_tells_why(admin_client: Client) -> None:
    """The error is under the pointer in the list and on top of the page."""
    job = make_job()
    DjangoJob.objects.quarantine(job, "the function <has> gone")

    listed = admin_client.get(url("djangojob")).content.decode()
    page = admin_client.get(url("djangojob", "change", job.pk)).content.decode()

    assert 'title="the function &lt;has&gt; gone">quarantined<' in listed
    assert "This job is quarantined" in page
    assert '<pre class="apscheduler-block">the function &lt;has&gt; gone</pre>' in page


@pytest.mark.parametrize(
    "trigger",
    [
        {"type": "unheard of"},
        {"type": "os:system", "state": {}},
        {
            "type": "tests.testapp.triggers:Every",
            "state": {"$type": "pickle", "value": "forged:by:somebody"},
        },
        "nothing",
        7,
    ],
)
def test_an_unreadable_trigger_breaks_no_page(admin_client: Client, trigger: object) -> None:
    """A bad row says what is wrong with it instead of an error page for all."""
    job = make_job()
    DjangoJob.objects.filter(pk=job.pk).update(trigger=trigger)

    listed = admin_client.get(url("djangojob"))
    page = admin_client.get(url("djangojob", "change", job.pk))

    assert len(column(listed, "trigger_in_words")[0]) > 20
    assert page.status_code == 200


def test_the_page_hides_secrets(admin_client: Client) -> None:
    """Values whose names say that they are secret do not leave the server, at any depth."""
    deep: object = {"password": "hidden-5"}
    for _ in range(20):
        deep = [deep]
    arguments = {
        "API-Key": "hidden-1",
        "options": {"db_password": "hidden-2", "list": [{"authToken": "hidden-3"}]},
        "pairs": {7: "seven", "client_secret": "hidden-4"},
        "deep": deep,
    }
    DjangoJob.objects.schedule(functions.plain, "interval", hours=1, id="job", kwargs=arguments)
    make_run("job", return_value={"access_token": "hidden-6", "rows": 17})

    page = admin_client.get(url("djangojob", "change", "job")).content.decode()
    run = admin_client.get(url("djangojobexecution", "change", DjangoJobExecution.objects.get().pk))

    assert "seven" in page
    assert "hidden-" not in page
    assert "17" in run.content.decode()
    assert "hidden-" not in run.content.decode()


def test_positional_arguments_are_shown_by_the_names_of_their_parameters(
    admin_client: Client,
) -> None:
    """So a secret is known as one, too; without the function, their places are told."""
    DjangoJob.objects.schedule(work.throw, "interval", hours=1, id="job", args=["the value"])

    page = admin_client.get(url("djangojob", "change", "job")).content.decode()
    with override_settings(ASYNC_APSCHEDULER={"SENSITIVE_NAMES": ["kind"]}):
        masked = admin_client.get(url("djangojob", "change", "job")).content.decode()
    DjangoJob.objects.update(func="tests.testapp.work:gone")
    nameless = admin_client.get(url("djangojob", "change", "job")).content.decode()

    assert "<dt>kind</dt>" in page
    assert "the value" in page
    assert "<dt>kind</dt>" in masked
    assert "the value" not in masked
    assert "<dt>args[0]</dt>" in nameless
    assert "the value" not in nameless  # for all that is known, it may be a secret


def test_a_declared_job_says_that_it_comes_back(admin_client: Client) -> None:
    """Who removes a declared job should know what happens."""
    job = make_job(source=DjangoJob.Source.DECLARED)

    page = admin_client.get(url("djangojob", "change", job.pk)).content.decode()
    removal = admin_client.get(url("djangojob", "delete", job.pk)).content.decode()

    assert "Declared with @scheduled_job" in page
    assert "returns when a scheduler starts next" in removal


def test_the_page_lists_the_latest_runs(admin_client: Client) -> None:
    """Twenty runs, the newest first, in a fixed number of queries."""
    job = make_job()
    node = make_node(name="worker")
    for minutes in range(25):
        make_run(run_time=NOON + timedelta(minutes=minutes), node=node)
    make_run(run_time=NOON + timedelta(hours=1), node_id=999, status="unheard of")

    with CaptureQueriesContext(connections["default"]) as queries:
        page = admin_client.get(url("djangojob", "change", job.pk))

    assert len(page.context["runs"]) == 20
    assert "unheard of" in page.context["runs"][0][1]
    assert len([query for query in queries if "djangojobexecution" in query["sql"]]) == 2
    assert "All runs of this job" in page.content.decode()


def test_a_job_can_neither_be_added_nor_edited_here(admin_client: Client) -> None:
    """Forms made by hand are refused, too."""
    job = make_job()

    added = admin_client.post("/admin/async_apscheduler/djangojob/add/", {"id": "new"})
    edited = admin_client.post(url("djangojob", "change", job.pk), {"name": "new"})

    assert (added.status_code, edited.status_code) == (403, 403)
    job.refresh_from_db()
    assert job.name != "new"


@override_settings(USE_TZ=False, TIME_ZONE="Asia/Tokyo")
def test_moments_are_in_time_zone_without_use_tz(admin_client: Client) -> None:
    """Rows hold UTC; the list tells the time of TIME_ZONE."""
    make_job(next_run_time=NOON)

    page = admin_client.get(url("djangojob"))

    assert column(page, "next_run")[0].endswith("June 1, 2026, 9:00:00 p.m.")


@override_settings(APSCHEDULER_DATETIME_FORMAT="Y-m-d H:i:s", TIME_ZONE="Europe/Helsinki")
def test_the_format_of_moments_is_a_setting(admin_client: Client) -> None:
    """The predecessor's setting is read."""
    make_job(next_run_time=NOON)

    page = admin_client.get(url("djangojob"))

    assert column(page, "next_run")[0].endswith("2026-06-01 15:00:00")


def test_the_last_moment_of_all_breaks_no_page(admin_client: Client) -> None:
    """Local time may lie beyond the last year that Python knows."""
    make_job(next_run_time=NOON.replace(year=9999, month=12, day=31, hour=23))

    with override_settings(TIME_ZONE="Asia/Tokyo"):
        page = admin_client.get(url("djangojob"))

    assert "9999" in column(page, "next_run")[0]
