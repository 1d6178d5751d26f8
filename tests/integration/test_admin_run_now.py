"""Run now: a scheduler does it, the page tells how it went."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.admin.models import LogEntry
from django.db import connections
from django.test import Client
from django.test.utils import override_settings

from async_apscheduler.admin import run_now
from async_apscheduler.exceptions import ConfigurationError
from async_apscheduler.models import DjangoJob, DjangoJobExecution, JobChange, Status
from tests.integration.admin_support import act, ago, make_job, make_node, staff, told, url
from tests.integration.conftest import Start
from tests.support import committed_data, wait_until
from tests.testapp import work

NO_WAIT = override_settings(APSCHEDULER_RUN_NOW_TIMEOUT=0)
SHORT = override_settings(APSCHEDULER_RUN_NOW_TIMEOUT=0.2)


def in_a_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a coroutine function that calls `function` as a web server's thread would."""

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        finally:
            connections.close_all()

    return sync_to_async(call, thread_sensitive=False)


@contextmanager
def ending_pending_runs(number: int, **columns: Any) -> Iterator[None]:
    """End the next `number` pending runs from another thread, as a scheduler would."""

    def end() -> None:
        for _ in range(number):
            run = wait_until(lambda: DjangoJobExecution.objects.pending().first())
            DjangoJobExecution.objects.filter(pk=run.pk).update(**columns)
        connections.close_all()

    thread = threading.Thread(target=end)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@committed_data
@pytest.mark.parametrize(
    ("func", "kwargs", "words"),
    [
        (work.anote, {}, "success: “the job” succeeded in "),
        (work.note, {}, "success: “the job” succeeded in "),
        (work.fall, {}, "error: “the job” failed: ValueError: the ladder broke"),
    ],
)
async def test_a_live_scheduler_runs_the_job_and_its_result_is_told(
    start: Start, admin_client: Client, func: Any, kwargs: dict[str, Any], words: str
) -> None:
    """From the click to the answer: the run happens in the scheduler, the request waits."""
    scheduler = await start()
    row = await DjangoJob.objects.aschedule(
        func, "interval", hours=1, id="job", name="the job", kwargs=kwargs
    )

    page = await in_a_thread(act)(admin_client, "djangojob", "run_now", "job")

    run = await DjangoJobExecution.objects.aget()
    after = await DjangoJob.objects.aget()
    assert told(page)[0].startswith(words)
    assert (run.requested_by, run.node_id) == ("admin", scheduler.node.id)
    assert after.next_run_time == row.next_run_time


@committed_data
@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"status": Status.SUCCEEDED, "duration": 1.25}, "success: “anote” succeeded in 1.2\xa0s."),
        ({"status": Status.FAILED, "exception": "E: x\ny"}, "error: “anote” failed: E: x"),
        ({"status": Status.TIMED_OUT, "exception": ""}, "error: “anote” timed out."),
        ({"status": Status.LOST, "reason": "node_lost"}, "error: “anote” lost: its node was lost"),
        (
            {"status": Status.CANCELLED, "reason": "requested"},
            "warning: “anote” cancelled: cancelled on request",
        ),
    ],
)
def test_each_kind_of_end_is_told(
    admin_client: Client, columns: dict[str, Any], words: str
) -> None:
    """By its status and, where there is one, its reason."""
    make_job()
    make_node()

    with ending_pending_runs(1, **columns):
        page = act(admin_client, "djangojob", "run_now", "report")

    assert told(page) == [words]


@committed_data
def test_many_runs_are_told_in_few_messages(admin_client: Client) -> None:
    """A list of a hundred messages helps nobody."""
    jobs = [make_job(f"job-{number}", name=f"job {number}") for number in range(12)]
    make_node()

    with ending_pending_runs(12, status=Status.SUCCEEDED, duration=1.0):
        page = act(admin_client, "djangojob", "run_now", *[job.pk for job in jobs])

    (message,) = told(page)
    assert message.startswith("success: succeeded: 12 (“job ")
    assert message.endswith(" and 7 more)")


@committed_data
@SHORT
def test_what_does_not_end_in_time_is_told_as_going_on(admin_client: Client) -> None:
    """One limit for all together; the runs go on."""
    make_job("a")
    make_job("b")
    make_node()

    with ending_pending_runs(1, status=Status.SUCCEEDED, duration=1.0):
        page = act(admin_client, "djangojob", "run_now", "a", "b")

    levels = [text.split(":")[0] for text in told(page)]
    assert levels == ["success", "warning"]
    assert told(page)[1].startswith("warning: Not finished after 200\xa0ms: “anote”. It goes on")
    assert DjangoJobExecution.objects.pending().count() == 1


@committed_data
@NO_WAIT
def test_a_timeout_of_zero_answers_at_once(admin_client: Client) -> None:
    """The run is queued and nobody looks at it again."""
    make_job()
    make_node()

    page = act(admin_client, "djangojob", "run_now", "report")

    assert told(page) == ["info: Queued: “anote”. Their results appear in the history."]
    assert DjangoJobExecution.objects.get().status == Status.PENDING


@committed_data
@pytest.mark.parametrize(
    "node",
    [
        None,
        {"state": "stopped"},
        {"state": "draining"},
        {"state": "lost"},
        {"heartbeat_at": ago(minutes=5)},
        {"environment": "elsewhere"},
    ],
)
def test_without_a_scheduler_the_answer_says_how_to_start_one(
    admin_client: Client, node: dict[str, Any] | None
) -> None:
    """Nobody waits for what cannot come; the run is kept for later."""
    make_job()
    if node is not None:
        make_node(**node)

    page = act(admin_client, "djangojob", "run_now", "report")

    (message,) = told(page)
    assert message.startswith("warning: Queued: “anote”. No scheduler is running;")
    assert message.endswith("manage.py runasyncscheduler")
    assert DjangoJobExecution.objects.get().status == Status.PENDING


@pytest.mark.django_db
def test_a_scheduler_of_the_wrong_environment_is_named_as_missing(admin_client: Client) -> None:
    """A job of another environment waits for a scheduler of its own."""
    make_job(environment="staging")
    make_node()

    page = act(admin_client, "djangojob", "run_now", "report")

    assert "No scheduler of the environment “staging” is running" in told(page)[0]


@pytest.mark.django_db
def test_inside_a_transaction_the_answer_does_not_wait(admin_client: Client) -> None:
    """With ATOMIC_REQUESTS nobody sees the run before the answer; waiting would be in vain."""
    make_job()
    make_node()

    page = act(admin_client, "djangojob", "run_now", "report")

    assert told(page) == [
        "info: Queued: “anote”. They start when the transaction of this request ends."
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("value", ["25", -1, True, None, float("nan"), float("inf")])
def test_a_wrong_timeout_is_refused_before_anything_is_queued(
    admin_client: Client, value: object
) -> None:
    """The error names the setting and what it takes."""
    make_job()

    with (
        override_settings(APSCHEDULER_RUN_NOW_TIMEOUT=value),
        pytest.raises(ConfigurationError, match="APSCHEDULER_RUN_NOW_TIMEOUT must be a number"),
    ):
        act(admin_client, "djangojob", "run_now", "report")

    assert not DjangoJobExecution.objects.exists()


@pytest.mark.django_db
@NO_WAIT
def test_clicking_again_does_not_queue_a_second_run(client: Client) -> None:
    """From the page, by its button; the log knows each click and its user."""
    client.force_login(staff("view_djangojob", "run_djangojob", name="alice"))
    make_job()

    for _ in range(3):
        page = client.post(url("djangojob", "run", "report"), follow=True)

    assert page.context["original"].pk == "report"
    assert DjangoJobExecution.objects.get().requested_by == "alice"
    assert LogEntry.objects.filter(user__username="alice", object_id="report").count() == 3
    assert not JobChange.objects.filter(action="changed").exists()


@pytest.mark.django_db
def test_a_job_removed_meanwhile_does_not_stop_the_others(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message says so."""
    make_job("a", name="a")
    make_job("b", name="b")
    run = DjangoJob.run

    def late(self: DjangoJob, **options: Any) -> Any:
        DjangoJob.objects.filter(pk="a").delete()
        return run(self, **options)

    monkeypatch.setattr(DjangoJob, "run", late)

    page = act(admin_client, "djangojob", "run_now", "a", "b")

    assert told(page)[0] == "error: “a” has been removed meanwhile."
    assert told(page)[1].startswith("warning: Queued: “b”.")
    assert [run.job_id for run in DjangoJobExecution.objects.all()] == ["b"]


@committed_data
def test_no_transaction_is_open_while_waiting(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would hide the result and hold back the database."""
    make_job()
    make_node()
    seen = []

    def look(keys: Any, database: str, timeout: float) -> dict[int, Any]:
        seen.append((connections[database].in_atomic_block, timeout))
        return {}

    monkeypatch.setattr(run_now, "wait_for_ends", look)

    act(admin_client, "djangojob", "run_now", "report")
    admin_client.post(url("djangojob", "run", "report"))

    assert seen == [(False, 25.0), (False, 25.0)]
