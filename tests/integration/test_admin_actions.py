"""Pause, resume, remove, cancel and delete: from lists and pages, with permission only."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.test.utils import override_settings

from async_apscheduler.admin import readonly
from async_apscheduler.models import DjangoJob, DjangoJobExecution, JobChange, Status
from tests.integration.admin_support import (
    HOSTILE_IDS,
    NOON,
    act,
    column,
    make_job,
    make_run,
    staff,
    told,
    url,
)

pytestmark = pytest.mark.django_db

CHANGES = ["run_now", "pause", "resume", "delete_selected"]
STEPS = ["run", "pause", "resume", "delete"]


def state_of_everything() -> Any:
    """Return what an action could have changed."""
    jobs = DjangoJob.objects.order_by("pk").values_list("pk", "status", "version")
    runs = DjangoJobExecution.objects.order_by("pk").values_list("pk", "status", "cancelled_by")
    return list(jobs), list(runs), LogEntry.objects.count()


def test_pausing_and_resuming_from_the_list(client: Client) -> None:
    """The rows, the audit trail and the admin's log agree on who did it."""
    client.force_login(staff("view_djangojob", "pause_djangojob", name="alice"))
    make_job("a")
    make_job("b").pause()

    paused = act(client, "djangojob", "pause", "a", "b")
    statuses = [job.status for job in DjangoJob.objects.all()]
    resumed = act(client, "djangojob", "resume", "a", "b")

    assert statuses == ["paused", "paused"]
    assert told(paused) == ["success: Paused: “anote”.", "info: Paused before, and still: “anote”."]
    assert told(resumed) == ["success: Resumed: “anote”, “anote”."]
    assert DjangoJob.objects.scheduled().count() == 2
    trail = JobChange.objects.filter(changed_by="alice").order_by("pk")
    assert list(trail.values_list("job_id", "action")) == [
        *(("a", "paused"), ("a", "resumed"), ("b", "resumed")),
    ]
    log = LogEntry.objects.order_by("pk").values_list("user__username", "object_id")
    assert list(log) == [("alice", "a"), ("alice", "a"), ("alice", "b")]
    assert {entry.get_change_message() for entry in LogEntry.objects.all()} == {
        *("Paused.", "Resumed."),
    }


def test_a_job_without_a_fire_left_is_not_resumed_and_says_why(admin_client: Client) -> None:
    """The others are; a failure is told, not raised."""
    make_job("a").pause()
    over = make_job(
        "over", trigger={**make_job("any").trigger, "end_date": "2020-01-01T00:00:00+00:00"}
    )
    over.pause()

    page = act(admin_client, "djangojob", "resume", "a", "over")

    assert DjangoJob.objects.get(pk="a").status == "scheduled"
    assert DjangoJob.objects.get(pk="over").status == "paused"
    assert [text.split(":")[0] for text in told(page)] == ["success", "error"]


def test_a_quarantined_job_can_be_resumed(admin_client: Client) -> None:
    """Resuming gives it another try at once."""
    DjangoJob.objects.quarantine(make_job(), "gone")

    act(admin_client, "djangojob", "resume", "report")

    job = DjangoJob.objects.get()
    assert (job.status, job.error) == ("scheduled", "")


def test_a_job_removed_meanwhile_is_told(admin_client: Client, monkeypatch: Any) -> None:
    """Between the list and the action somebody else was faster."""
    make_job()
    pause = DjangoJob.pause

    def late(self: DjangoJob, **options: Any) -> None:
        DjangoJob.objects.all().delete()
        pause(self, **options)

    monkeypatch.setattr(DjangoJob, "pause", late)

    page = act(admin_client, "djangojob", "pause", "report")

    assert told(page) == ["error: “anote” has been removed meanwhile."]


def test_a_job_that_somebody_else_has_removed_does_not_stop_a_removal(
    admin_client: Client, monkeypatch: Any
) -> None:
    """It is gone as asked; the others go too."""
    make_job("a")
    make_job("b")
    remove = DjangoJob.remove

    def late(self: DjangoJob, **options: Any) -> None:
        DjangoJob.objects.filter(pk="a").delete()
        remove(self, **options)

    monkeypatch.setattr(DjangoJob, "remove", late)

    page = act(admin_client, "djangojob", "delete_selected", "a", "b", post="yes")

    assert page.status_code == 200
    assert not DjangoJob.objects.exists()
    assert [change.job_id for change in JobChange.objects.filter(action="removed")] == ["b"]


@pytest.mark.parametrize("job_id", HOSTILE_IDS)
def test_actions_reach_jobs_of_any_id(admin_client: Client, job_id: str) -> None:
    """The boxes in the list carry keys that survive a form, line breaks included."""
    make_job(job_id)
    make_job("innocent")
    page = admin_client.get(url("djangojob")).content.decode()

    act(admin_client, "djangojob", "pause", job_id)
    asked = act(admin_client, "djangojob", "delete_selected", job_id)
    (key,) = asked.context["selected"]
    admin_client.post(
        url("djangojob"),
        {"action": "delete_selected", "_selected_action": [key], "post": "yes"},
    )

    assert f'name="_selected_action" value="{key}"' in page
    assert re.fullmatch("[ -~]*", key)
    assert list(DjangoJob.objects.values_list("pk", "status")) == [("innocent", "scheduled")]
    assert [change.action for change in JobChange.objects.filter(job_id=job_id)] == [
        *("added", "paused", "removed"),
    ]


def test_removing_asks_first_and_keeps_history_and_trail(client: Client) -> None:
    """The job goes, its runs stay, and both logs know who did it."""
    client.force_login(staff("view_djangojob", "delete_djangojob", name="alice"))
    make_job("a")
    make_job("b")
    make_run("a")

    asked = act(client, "djangojob", "delete_selected", "a")
    existing = DjangoJob.objects.count()
    done = act(client, "djangojob", "delete_selected", "a", post="yes")
    single = client.post(url("djangojob", "delete", "b"), {"post": "yes"}, follow=True)

    assert "The history of its runs stays." in asked.content.decode()
    assert existing == 2
    assert told(done) == ["success: Successfully deleted 1 job."]
    assert single.redirect_chain == [(url("djangojob"), 302)]
    assert not DjangoJob.objects.exists()
    assert DjangoJobExecution.objects.count() == 1
    removed = JobChange.objects.filter(action="removed").order_by("pk")
    assert list(removed.values_list("job_id", "changed_by")) == [("a", "alice"), ("b", "alice")]
    assert list(LogEntry.objects.order_by("pk").values_list("object_id", "action_flag")) == [
        *(("a", 3), ("b", 3)),
    ]


def test_everything_that_a_filter_finds_can_be_removed(
    admin_client: Client, monkeypatch: Any
) -> None:
    """However many they are: the question names the first and posts no list of keys."""
    monkeypatch.setattr(readonly, "MAX_LISTED", 2)
    for number in range(5):
        make_job(f"old-{number}")
    make_job("new")
    found = f"{url('djangojob')}?q=old"
    form = {"action": "delete_selected", "_selected_action": ["old-0"], "select_across": "1"}

    asked = admin_client.post(found, {**form, "index": "0"})
    answer = {"_selected_action": asked.context["selected"], "action": "delete_selected"}
    admin_client.post(found, {**answer, "select_across": "1", "post": "yes"})

    assert "and 3 more" in asked.content.decode()
    assert asked.context["selected"] == ["all"]
    assert [job.pk for job in DjangoJob.objects.all()] == ["new"]


def test_cancelling_from_the_list_and_from_the_page(client: Client) -> None:
    """A pending run ends, a running one is asked to, a finished one stays as it is."""
    client.force_login(staff("view_djangojobexecution", "cancel_djangojobexecution", name="alice"))
    pending = make_run("a", Status.PENDING, run_time=NOON)
    running = make_run("b", Status.RUNNING, run_time=NOON)
    finished = make_run("c", Status.SUCCEEDED, run_time=NOON)

    listed = act(client, "djangojobexecution", "cancel", pending.pk, finished.pk)
    page = client.get(url("djangojobexecution", "change", running.pk)).content.decode()
    client.post(url("djangojobexecution", "cancel", running.pk))
    done = client.get(url("djangojobexecution", "change", finished.pk)).content.decode()

    for run in (pending, running, finished):
        run.refresh_from_db()
    assert [pending.status, pending.cancelled_by] == ["cancelled", "alice"]
    assert running.cancel_requested_at is not None
    assert [running.status, running.cancelled_by] == ["running", "alice"]
    assert [finished.status, finished.cancelled_by] == ["succeeded", ""]
    assert told(listed) == [
        f"success: Asked to stop: “#{pending.pk}”.",
        f"info: Had ended already: “#{finished.pk}”.",
    ]
    assert url("djangojobexecution", "cancel", running.pk) in page
    assert url("djangojobexecution", "cancel", finished.pk) not in done
    assert LogEntry.objects.filter(user__username="alice").count() == 2


def test_runs_are_deleted_with_the_permission_to(client: Client) -> None:
    """From the list and from the page; the job stays."""
    client.force_login(staff("view_djangojobexecution", "delete_djangojobexecution"))
    make_job()
    first, second, third = (make_run(run_time=NOON.replace(hour=hour)) for hour in (1, 2, 3))

    act(client, "djangojobexecution", "delete_selected", first.pk, post="yes")
    client.post(url("djangojobexecution", "delete", second.pk), {"post": "yes"})

    assert [run.pk for run in DjangoJobExecution.objects.all()] == [third.pk]
    assert DjangoJob.objects.exists()
    assert LogEntry.objects.count() == 2


@pytest.mark.parametrize("step", ["run", "pause", "resume"])
def test_the_buttons_of_a_page_take_posts_only(admin_client: Client, step: str) -> None:
    """A link in a mail must not do anything."""
    make_job()

    answer = admin_client.get(url("djangojob", step, "report"))

    assert answer.status_code == 405


def test_the_buttons_are_protected_against_forgery(admin_user: Any) -> None:
    """A form on another site must not do anything either."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    make_job()

    answer = client.post(url("djangojob", "pause", "report"))

    assert answer.status_code == 403
    assert DjangoJob.objects.get().status == "scheduled"


@pytest.mark.parametrize("job_id", HOSTILE_IDS)
def test_the_buttons_of_a_page_reach_jobs_of_any_id(admin_client: Client, job_id: str) -> None:
    """Each button does what it says and leads back to the page."""
    make_job(job_id)

    paused = admin_client.post(url("djangojob", "pause", job_id), follow=True)
    status = DjangoJob.objects.get().status
    admin_client.post(url("djangojob", "resume", job_id))

    assert paused.context["original"].pk == job_id
    assert status == "paused"
    assert DjangoJob.objects.get().status == "scheduled"


def test_the_page_offers_the_buttons_that_fit(admin_client: Client) -> None:
    """A scheduled job can be paused, a paused one resumed."""
    job = make_job()

    scheduled = admin_client.get(url("djangojob", "change", job.pk)).context["buttons"]
    job.pause()
    paused = admin_client.get(url("djangojob", "change", job.pk)).context["buttons"]

    assert [label for _, label in scheduled] == ["Run now", "Pause"]
    assert [label for _, label in paused] == ["Run now", "Resume"]


@pytest.mark.parametrize("model", ["djangojob", "djangojobexecution"])
def test_a_button_for_what_is_gone_leads_to_the_list(admin_client: Client, model: str) -> None:
    """And says so."""
    step = {"djangojob": "run", "djangojobexecution": "cancel"}[model]

    answer = admin_client.post(url(model, step, "77"), follow=True)

    assert answer.redirect_chain == [(url(model), 302)]
    assert told(answer)[0].startswith("warning: There is no ")


@pytest.mark.parametrize(
    ("held", "allowed"),
    [
        ([], []),
        (["view_djangojob"], []),
        (["view_djangojob", "run_djangojob"], ["run_now"]),
        (["view_djangojob", "pause_djangojob"], ["pause", "resume"]),
        (["view_djangojob", "delete_djangojob"], ["delete_selected"]),
        (["view_djangojob", "change_djangojob", "add_djangojob"], []),
        (["run_djangojob", "pause_djangojob"], []),
        (["view_djangojob", "view_djangojobexecution", "cancel_djangojobexecution"], []),
    ],
)
def test_each_change_of_jobs_needs_its_permission(
    client: Client, held: list[str], allowed: list[str]
) -> None:
    """Forms and addresses made by hand change nothing without it."""
    client.force_login(staff(*held))
    make_job()
    offered = client.get(url("djangojob"))
    steps = {"run_now": "run", "pause": "pause", "resume": "resume", "delete_selected": "delete"}

    for action in CHANGES:
        before = state_of_everything()
        if action not in allowed:
            act(client, "djangojob", action, "report", post="yes")
            answer = client.post(url("djangojob", steps[action], "report"), {"post": "yes"})
            assert answer.status_code == 403
            assert state_of_everything() == before

    if "view_djangojob" in held:
        form = offered.context["action_form"]
        choices = [name for name, _ in form.fields["action"].choices if name] if form else []
        assert choices == allowed
        labels = [
            label
            for _, label in client.get(url("djangojob", "change", "report")).context["buttons"]
        ]
        assert ("Run now" in labels) == ("run_now" in allowed)
        assert ("Pause" in labels) == ("pause" in allowed)
    else:
        assert offered.status_code == 403


@pytest.mark.parametrize("held", [["view_djangojobexecution"], ["cancel_djangojobexecution"], []])
def test_each_change_of_runs_needs_its_permission(client: Client, held: list[str]) -> None:
    """Seeing is not cancelling, and cancelling blindly is not offered."""
    client.force_login(staff(*held))
    run = make_run(status=Status.PENDING)
    before = state_of_everything()

    act(client, "djangojobexecution", "cancel", run.pk)
    act(client, "djangojobexecution", "delete_selected", run.pk, post="yes")
    answers = [
        client.post(url("djangojobexecution", step, run.pk), {"post": "yes"})
        for step in ("cancel", "delete")
    ]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert state_of_everything() == before


@pytest.mark.parametrize("is_staff", [False, True])
def test_nobody_else_sees_or_changes_anything(client: Client, is_staff: bool) -> None:
    """Anonymous visitors and users who are not staff are sent to the login."""
    if is_staff:
        user = staff("view_djangojob", "run_djangojob", "pause_djangojob", "delete_djangojob")
        user.is_staff = False
        user.save()
        client.force_login(user)
    make_job()
    before = state_of_everything()

    answers = [client.get(url("djangojob")), client.get(url("djangojob", "change", "report"))]
    answers += [
        client.post(url("djangojob"), {"action": action, "_selected_action": ["report"]})
        for action in CHANGES
    ]
    answers += [client.post(url("djangojob", step, "report"), {"post": "yes"}) for step in STEPS]

    assert all(answer["Location"].startswith("/admin/login/") for answer in answers)
    assert state_of_everything() == before


@pytest.mark.django_db(databases=["default", "other"])
@override_settings(ASYNC_APSCHEDULER={"DATABASE": "other"})
def test_actions_work_on_another_database(admin_client: Client) -> None:
    """Rows change where they live, the admin's log is written where it lives."""
    make_job("a")
    make_job("b")
    run = make_run("a", Status.PENDING)

    act(admin_client, "djangojob", "pause", "a")
    status = DjangoJob.objects.get(pk="a").status
    act(admin_client, "djangojob", "run_now", "b")
    act(admin_client, "djangojobexecution", "cancel", run.pk)
    act(admin_client, "djangojob", "delete_selected", "a", post="yes")
    admin_client.post(url("djangojob", "delete", "b"), {"post": "yes"})
    act(admin_client, "djangojobexecution", "delete_selected", run.pk, post="yes")

    assert status == "paused"
    assert not DjangoJob.objects.using("other").exists()
    assert [run.job_id for run in DjangoJobExecution.objects.using("other")] == ["b"]
    assert LogEntry.objects.using("default").count() == 6
    assert column(admin_client.get(url("jobchange")), "deed").count("removed") == 2
