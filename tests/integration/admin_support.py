"""Rows to look at in the admin, users to look with, and a reader of its tables."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote as percent_encoded

from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from async_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerNode, Status

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)

HOSTILE_IDS = [
    "<img src=x onerror=alert(1)>",
    "a/b/../c?x=1&y=2#part",
    "quo\"te'`s",
    "two\nlines",
    "carriage\r\nreturn",
    "emoji 🦊 ä",
    " space around ",
    "100%",
    "_2F_0A",
    "x" * 255,
]


def url(model: str, page: str = "changelist", *args: Any) -> str:
    """Return an address of the admin; `args` are primary keys as they are stored."""
    name = f"admin:async_apscheduler_{model}_{page}"
    return reverse(name, args=[quote(arg) for arg in args])


def make_job(id: str = "report", **columns: Any) -> DjangoJob:
    """Insert a job that fires every five minutes."""
    row: DjangoJob = DjangoJob.objects.schedule(
        "tests.testapp.work:anote", "interval", minutes=5, id=id
    )
    if columns:
        for name, value in columns.items():
            setattr(row, name, value)
        row.save()
    return row


def make_run(job_id: str = "report", status: str = Status.SUCCEEDED, **columns: Any) -> Any:
    """Insert a run."""
    columns.setdefault("run_time", timezone.now())
    return DjangoJobExecution.objects.create(job_id=job_id, status=status, **columns)


def make_node(**columns: Any) -> SchedulerNode:
    """Insert a node that has just given a sign of life."""
    now = timezone.now()
    columns = {"name": "node", "started_at": now, "heartbeat_at": now, "capacity": 9, **columns}
    return SchedulerNode.objects.create(**columns)


def staff(*codenames: str, name: str = "staff") -> User:
    """Create a user who may enter the admin and has these permissions of the app."""
    user = User.objects.create_user(name, is_staff=True)
    permissions = Permission.objects.filter(content_type__app_label="async_apscheduler")
    user.user_permissions.set(permissions.filter(codename__in=codenames))
    return user


def act(client: Client, model: str, action: str, *keys: Any, **more: Any) -> Any:
    """Carry out an action on the rows with these keys, as the form of the list posts it."""
    data = {
        "action": action,
        "_selected_action": [form_key(key) for key in keys],
        "index": 0,
        **more,
    }
    return client.post(url(model), data, follow=True)


def form_key(key: Any) -> str:
    """Return a primary key as the boxes of a list carry it."""
    return percent_encoded(str(key), safe=" ")


def told(response: Any) -> list[str]:
    """Return the messages that a page shows, each with its level before it."""
    request = response.wsgi_request
    shown = response.context["messages"] if response.context else get_messages(request)
    return [f"{message.level_tag}: {message}" for message in shown]


def links(response: HttpResponse) -> list[str]:
    """Return where the links of a page lead, in their order."""
    return [unescape(link) for link in re.findall(r'<a href="([^"]+)"', response.content.decode())]


def column(response: HttpResponse, name: str) -> list[str]:
    """Return the texts in one column of a list, from top to bottom."""
    reader = _Column(f"field-{name}")
    reader.feed(response.content.decode())
    return [" ".join(cell.split()) for cell in reader.cells]


class _Column(HTMLParser):
    """Collects the text of the cells of one class."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._inside = False
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("td", "th"):
            classes = (dict(attrs).get("class") or "").split()
            self._inside = self._name in classes
            if self._inside:
                self.cells.append("")
        elif tag == "br" and self._inside:
            self.cells[-1] += " "

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.cells[-1] += data


def ago(**length: float) -> datetime:
    """Return a moment that has passed."""
    return timezone.now() - timedelta(**length)
