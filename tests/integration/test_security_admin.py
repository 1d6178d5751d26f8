"""What somebody can do who may look at the admin, or lure somebody who may do more: nothing more.

Who may press which button is in test_admin_actions.py; here is the rest.
"""

from __future__ import annotations

import base64
import json
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from django.test.utils import override_settings
from django.utils import timezone

from async_apscheduler.masking import MASK
from async_apscheduler.models import DjangoJob, DjangoJobExecution, JobChange, Status
from tests.integration.admin_support import (
    act,
    make_job,
    make_node,
    make_run,
    staff,
    told,
    url,
)
from tests.support import committed_data
from tests.testapp import leaks, work

pytestmark = pytest.mark.django_db

MODELS = ["djangojob", "djangojobexecution", "schedulernode", "jobchange"]


def state_of_everything() -> Any:
    """Return what a request could have changed."""
    jobs = DjangoJob.objects.order_by("pk").values_list("pk", "status", "version")
    runs = DjangoJobExecution.objects.order_by("pk").values_list("pk", "status", "cancelled_by")
    return list(jobs), list(runs), LogEntry.objects.count()


# Scripts in data

PAYLOADS = [
    "<script>evil()</script>",
    '" onmouseover="evil()',
    "' autofocus onfocus='evil()",
    "javascript:evil()",
    "</textarea></title></style><img src=x onerror=evil()>",
    "\u202egnp.exe\u2066",
]


class Reader(HTMLParser):
    """Notes what a browser would execute, and the text that it would show."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.evil: list[str] = []
        self.shown = ""
        self._in_script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_script = tag in ("script", "style")
        for name, value in attrs:
            leads = name in ("href", "src", "action", "formaction")
            if name.startswith("on") or (leads and "javascript:" in (value or "").lower()[:20]):
                self.evil.append(f"<{tag} {name}={value!r}>")

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script and "evil()" in data:
            self.evil.append(data)
        elif not self._in_script:
            self.shown += data


@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_in_a_row_becomes_a_script(admin_client: Client, payload: str) -> None:
    """In no column, on no page, in no message, whatever a row holds; and no page breaks."""
    node = make_node(name=payload, environment=payload, versions={payload: payload})
    job = make_job(
        payload,
        name=payload,
        func=f"tests:{payload}",
        executor=payload,
        args=[payload],
        kwargs={payload: payload},
        environment=payload,
        status="quarantined",
        error=payload,
        trigger={"type": payload},
    )
    run = make_run(
        payload,
        payload[:10],
        reason=payload[:20],
        node_id=node.pk,
        exception=payload,
        traceback=payload,
        log=payload,
        return_value={payload: payload},
        progress={"done": 1, "total": 2, "message": payload},
        requested_by=payload,
        cancelled_by=payload,
    )
    change = JobChange.objects.create(
        job_id=payload, action=payload[:10], changed_by=payload, before={payload: payload}
    )
    rows = dict(zip(MODELS, (job, run, node, change), strict=True))

    pages = [admin_client.get(url(model)) for model in MODELS]
    pages += [admin_client.get(url(model, "change", row.pk)) for model, row in rows.items()]
    pages += [admin_client.get(url(model, "history", row.pk)) for model, row in rows.items()]
    pages += [admin_client.get(url(model), {"q": payload}, follow=True) for model in MODELS]
    pages += [admin_client.get(url("djangojobexecution"), {"job": payload})]
    pages += [admin_client.get(url("djangojob", "delete", payload))]
    pages += [act(admin_client, "djangojob", "delete_selected", payload)]
    pages += [act(admin_client, "djangojob", action, payload) for action in ("pause", "resume")]

    for page in pages:
        assert page.status_code == 200
        assert Reader(page.content.decode()).evil == []
    assert any("evil()" in told(page)[0] or "\\u202e" in told(page)[0] for page in pages[-2:])


def test_texts_cannot_be_turned_round(admin_client: Client) -> None:
    """Characters that write from right to left are shown as what they are."""
    make_job("job", name="\u202egnp.exe", func="tests.testapp.work:mark")
    run = make_run("job", exception="a\u2066b", traceback="c\u202ed", log="e\u202df")

    pages = [
        admin_client.get(url("djangojob")),
        admin_client.get(url("djangojobexecution")),
        admin_client.get(url("djangojobexecution", "change", run.pk)),
    ]
    shown = "".join(Reader(page.content.decode()).shown for page in pages)

    for text in ("\\u202egnp.exe", "a\\u2066b", "c\\u202ed", "e\\u202df"):
        assert text in shown


# Requests that somebody else has made up


def requests_that_change() -> list[tuple[str, dict[str, Any]]]:
    """Return the addresses and forms of everything that changes something."""
    make_job()
    run = make_run(status=Status.PENDING)
    jobs, runs = url("djangojob"), url("djangojobexecution")
    selected: dict[str, Any] = {"_selected_action": ["report"], "index": 0, "post": "yes"}
    return [
        *((url("djangojob", step, "report"), {}) for step in ("run", "pause", "resume")),
        (url("djangojob", "delete", "report"), {"post": "yes"}),
        (url("djangojobexecution", "cancel", run.pk), {}),
        (url("djangojobexecution", "delete", run.pk), {"post": "yes"}),
        *(
            (jobs, {**selected, "action": action})
            for action in ("run_now", "pause", "resume", "delete_selected")
        ),
        (runs, {**selected, "_selected_action": [run.pk], "action": "cancel"}),
        (runs, {**selected, "_selected_action": [run.pk], "action": "delete_selected"}),
    ]


def test_a_link_changes_nothing(admin_client: Client) -> None:
    """Whoever is lured to follow it has done no harm."""
    requests = requests_that_change()
    before = state_of_everything()

    for address, form in requests:
        assert admin_client.get(address, form).status_code in (200, 302, 400, 405)

    assert state_of_everything() == before


def test_a_form_on_another_site_changes_nothing(admin_user: User) -> None:
    """It does not know the token."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    requests = requests_that_change()
    before = state_of_everything()

    for address, form in requests:
        assert client.post(address, form).status_code == 403

    assert state_of_everything() == before


# Permissions


@pytest.mark.parametrize("who", ["a visitor", "a user", "a viewer"])
def test_a_form_made_by_hand_changes_nothing_without_permission(client: Client, who: str) -> None:
    """For those who may look at everything as little as for those who may not."""
    if who == "a user":
        client.force_login(User.objects.create_user("user"))
    elif who == "a viewer":
        client.force_login(staff(*(f"view_{model}" for model in MODELS)))
    requests = requests_that_change()
    before = state_of_everything()

    for address, form in requests:
        client.post(address, form)

    assert state_of_everything() == before


# Secrets


def test_no_page_shows_a_secret(admin_client: Client) -> None:
    """Not in arguments, results, errors, logs, progress, changes and messages, however old."""
    secret = "password='hunter2' at https://shop:hunter2@example.com/"
    make_node()
    job = DjangoJob.objects.schedule(
        leaks.blurt_out, "interval", hours=1, id="job", args=["redis://:hunter2@db", "hunter2"]
    )
    DjangoJob.objects.quarantine(job, f"ValueError: {secret}")
    run = make_run(
        "job",
        Status.FAILED,
        exception=f"ValueError: {secret}",
        traceback=f"Traceback:\n{secret}",
        log=secret,
        return_value={"headers": [["Authorization", "hunter2"]], "text": secret},
        progress={"done": 1, "total": 2, "message": secret},
    )
    values = {"kwargs": {"api_key": "hunter2"}, "func": secret}
    change = JobChange.objects.create(job_id="job", action="changed", before=values, after=values)

    pages = [admin_client.get(url(model)) for model in MODELS]
    pages += [admin_client.get(url("djangojob", "change", "job"))]
    pages += [admin_client.get(url("djangojobexecution", "change", run.pk))]
    pages += [admin_client.get(url("jobchange", "change", change.pk))]

    for page in pages:
        assert "hunter2" not in page.content.decode()
    for page in pages[-3:]:
        assert MASK in page.content.decode()


@pytest.mark.parametrize(
    "lookup",
    [
        "kwargs__password__startswith",
        "kwargs__icontains",
        "args__0",
        "declaration__contains",
        "executions__return_value__icontains",
        "func__startswith",
    ],
)
def test_a_masked_argument_cannot_be_guessed_by_filters(client: Client, lookup: str) -> None:
    """Letter by letter, from whether the list is empty."""
    client.force_login(staff("view_djangojob"))
    make_job("job", kwargs={"password": "hunter2"})

    answer = client.get(url("djangojob"), {lookup: "h"})

    assert answer.status_code == 400


def test_masked_results_cannot_be_guessed_by_filters(client: Client) -> None:
    """Nor what the job of a run was called with."""
    client.force_login(staff("view_djangojobexecution", "view_jobchange"))
    make_job("job", kwargs={"password": "hunter2"})
    make_run("job", return_value={"token": "hunter2"})

    for model, lookup in (
        ("djangojobexecution", "return_value__token__startswith"),
        ("djangojobexecution", "job__kwargs__password__startswith"),
        ("djangojobexecution", "traceback__contains"),
        ("jobchange", "before__kwargs__contains"),
    ):
        assert client.get(url(model), {lookup: "h"}).status_code == 400


# Questions that look like SQL

NONSENSE = [
    "' OR 1=1 --",
    "%s %(a)s",
    "a__b__c",
    "$.x",
    '"',
    "\\",
    "\x00",
    "{}",
    "1e999",
    "\N{MATHEMATICAL DOUBLE-STRUCK DIGIT ONE}" * 300,
]


@pytest.mark.parametrize("nonsense", NONSENSE)
@pytest.mark.parametrize("model", MODELS)
def test_nonsense_in_an_address_breaks_no_list(
    admin_client: Client, model: str, nonsense: str
) -> None:
    """It is searched for, ignored or refused; it never reaches the database as SQL."""
    names = ["q", "o", "p", "status__exact", "last_status", "node", "job", "scheduled", "state"]
    names += [
        "status__in",
        "reason__isnull",
        "args__x",
        f"kwargs__{nonsense}",
        nonsense,
        "_to_field",
    ]

    for name in names:
        answer = admin_client.get(url(model), {name: nonsense})

        assert answer.status_code in (200, 302, 400)


@pytest.mark.parametrize("key", ["\0", "a\0b"])
def test_a_key_that_no_database_can_hold_belongs_to_nothing(admin_client: Client, key: str) -> None:
    """PostgreSQL would raise an error."""
    make_job()

    answers = [admin_client.get(url("djangojob", page, key)) for page in ("change", "delete")]
    answers += [admin_client.get(url("djangojob", "history", key), follow=True)]
    answers += [admin_client.post(url("djangojob", "run", key), follow=True)]
    answers += [act(admin_client, "djangojob", "run_now", key)]

    assert {answer.status_code for answer in answers} <= {200, 302}
    assert not DjangoJobExecution.objects.exists()


def test_rows_written_by_others_break_no_page(admin_client: Client) -> None:
    """An unknown status, JSON of another shape, a pickle: all is shown, nothing is opened."""
    bomb = {"$type": "pickle", "value": base64.b64encode(pickle.dumps(Bomb())).decode()}
    for number, value in enumerate(
        [bomb, [bomb], {"x": bomb}, "text", 7, None, [[]], {"$type": 1}]
    ):
        columns = {"args": value, "kwargs": value, "trigger": value} if value is not None else {}
        make_job(f"job-{number}", status="unheard", source="unheard", **columns)
        make_run(f"job-{number}", "unheard", return_value=value, progress=value, reason="unheard")
        JobChange.objects.create(
            job_id=f"job-{number}", action="unheard", before=value or {}, after=value or {}
        )
    work.seen.clear()

    for model, rows in (
        ("djangojob", DjangoJob.objects.all()),
        ("djangojobexecution", DjangoJobExecution.objects.all()),
        ("jobchange", JobChange.objects.all()),
    ):
        assert admin_client.get(url(model)).status_code == 200
        for row in rows:
            assert admin_client.get(url(model, "change", row.pk)).status_code == 200

    assert work.seen == []


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self) -> Any:
        return work.seen.append, ("boom",)


# Floods


@committed_data
@override_settings(APSCHEDULER_RUN_NOW_TIMEOUT=0)
def test_a_flood_of_run_now_leaves_one_run_a_job(admin_user: User) -> None:
    """Clicks at the same time, and all jobs again and again; the request runs nothing."""
    for number in range(20):
        DjangoJob.objects.schedule(
            work.mark, "interval", hours=1, id=f"job-{number}", args=[number]
        )
    make_node()

    def click(number: int) -> int:
        client = Client()
        client.force_login(admin_user)
        try:
            if number % 10:
                return client.post(url("djangojob", "run", "job-7")).status_code
            keys = [f"job-{number}" for number in range(20)]
            return int(act(client, "djangojob", "run_now", *keys).status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as threads:
        answers = set(threads.map(click, range(60)))

    pending = DjangoJobExecution.objects.pending().values_list("job_id", flat=True)
    assert answers == {200, 302}
    assert sorted(pending) == sorted(f"job-{number}" for number in range(20))
    assert DjangoJobExecution.objects.count() == 20
    assert work.seen == []


@override_settings(APSCHEDULER_RUN_NOW_TIMEOUT=0.3)
@committed_data
def test_a_request_waits_for_all_its_runs_together(admin_client: Client) -> None:
    """As long as the setting says, however many they are and however long they take."""
    for number in range(30):
        make_job(f"job-{number}")
    make_node(heartbeat_at=timezone.now() + timedelta(seconds=5))

    began = time.monotonic()
    page = act(admin_client, "djangojob", "run_now", *(f"job-{n}" for n in range(30)))
    took = time.monotonic() - began

    assert [text.split(":")[1].split(" after")[0] for text in told(page)] == [" Not finished"]
    assert took < 10  # thirty times the limit would be nine seconds for the waiting alone
    assert json.dumps(told(page)).count("and 25 more") == 1
