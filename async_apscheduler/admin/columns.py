"""How values look in lists and pages: badges, moments, durations, links, blocks of text.

All data goes through format_html(), so an id like ``<img onerror=...>`` is text and stays text.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin.utils import quote
from django.db.models import Model
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from async_apscheduler.admin_settings import datetime_format
from async_apscheduler.masking import masked_text
from async_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerNode, Status

EMPTY = "-"
"""Stands where there is no value."""

LINE_LENGTH = 120
"""Characters of a text that a cell of a list shows."""

BLOCK_LENGTH = 100_000
"""Characters of a text that a page shows."""

_TURNS_TEXT = {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
"""Characters that let what follows look like something else, with how they are shown."""

GOOD, BAD, BUSY, WAITING, ODD, QUIET = "good", "bad", "busy", "waiting", "odd", "quiet"

RUN_TONES: dict[str, str] = {
    Status.PENDING: WAITING,
    Status.RUNNING: BUSY,
    Status.SUCCEEDED: GOOD,
    Status.FAILED: BAD,
    Status.TIMED_OUT: BAD,
    Status.CANCELLED: QUIET,
    Status.LOST: BAD,
    Status.SKIPPED: ODD,
}
"""The colour of each status of a run; one that is not known here is shown in QUIET."""


def badge(text: object, tone: str, *, title: object = "") -> SafeString:
    """Return a text on a coloured ground; `title` shows when the pointer rests on it."""
    return format_html(
        '<span class="apscheduler-badge apscheduler-{}" title="{}">{}</span>', tone, title, text
    )


def run_badge(status: str, *, title: object = "") -> SafeString:
    """Return the badge of a run's status, also of one that this version does not know."""
    text = Status(status).label if status in Status.values else status
    return badge(text, RUN_TONES.get(status, QUIET), title=title)


def words(text: object) -> SafeString:
    """Return a text that may break, but not after each word."""
    return format_html('<span class="apscheduler-words">{}</span>', text)


def dotted(name: str) -> SafeString:
    """Return a name from code, which may break after each of its dots and underscores."""
    parts = re.split(r"(?<=[._])", name)
    return format_html_join(mark_safe("<wbr>"), "{}", ((part,) for part in parts))


def stacked(above: object, below: object) -> SafeString:
    """Return a text with a quiet one below it."""
    return format_html('{}<br><span class="apscheduler-aside">{}</span>', above, below)


def moment(value: datetime | None) -> str:
    """Return a moment in the current time zone, which is TIME_ZONE unless another is active."""
    if value is None:
        return EMPTY
    try:
        local = timezone.localtime(value)
    except OverflowError:  # in the last hours of the year 9999
        local = value
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        value.isoformat(),
        f"{local:%Y-%m-%d %H:%M:%S.%f %Z}",
        formats.date_format(local, datetime_format()),
    )


def time_between(earlier: datetime, later: datetime) -> str:
    """Return a length of time in one unit, to the second below a minute."""
    seconds = int((later - earlier).total_seconds())
    if seconds < 60:
        return ngettext("%(count)d second", "%(count)d seconds", seconds) % {"count": seconds}
    return timesince(earlier, later, depth=1)


def how_far(value: datetime, now: datetime) -> str:
    """Return "in 5 minutes" or "5 minutes ago"."""
    if value > now:
        return _("in %(time)s") % {"time": time_between(now, value)}
    return _("%(time)s ago") % {"time": time_between(value, now)}


def duration(seconds: float | None) -> str:
    """Return a duration to about three digits: "12 ms", "3.4 s", "2 min 5 s", "1 h 2 min"."""
    if seconds is None:
        return EMPTY
    return _duration_in_words(max(seconds, 0.0)).replace(" ", "\N{NO-BREAK SPACE}")


def _duration_in_words(seconds: float) -> str:
    if round(seconds, 3) < 1:
        return _("%(number)d ms") % {"number": round(seconds * 1000)}
    if round(seconds, 1) < 60:
        # number_format() alone would cut digits off instead of rounding.
        return _("%(number)s s") % {"number": formats.number_format(round(seconds, 1), 1)}
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return _("%(minutes)d min %(seconds)d s") % {"minutes": minutes, "seconds": rest}
    hours, minutes = divmod(minutes, 60)
    return _("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": minutes}


def visible(text: str) -> str:
    """Return a text that reads in the order in which it was written."""
    return text.translate(_TURNS_TEXT)


def one_line(text: str) -> str:
    """Return the first line of a text, shortened to fit a cell."""
    line = (visible(text).strip().splitlines() or [""])[0]
    return line if len(line) <= LINE_LENGTH else f"{line[: LINE_LENGTH - 1]}…"


def cell(text: str) -> str:
    """Return the first line of a text, with more of it under the pointer."""
    if not text:
        return EMPTY
    return format_html(
        '<span class="apscheduler-text" title="{}">{}</span>', visible(text[:1000]), one_line(text)
    )


def outcome(run: DjangoJobExecution) -> str:
    """Return the first line of a run's exception, or else why it ended or was none."""
    return cell(masked_text(run.exception) or run.get_reason_display())


def block(text: str) -> str:
    """Return a text with its lines as they are."""
    if not text:
        return EMPTY
    if len(text) > BLOCK_LENGTH:
        missing = _("[%(count)d more characters]") % {"count": len(text) - BLOCK_LENGTH}
        text = f"{text[:BLOCK_LENGTH]}… {missing}"
    return format_html('<pre class="apscheduler-block">{}</pre>', visible(text))


def json_block(value: Any) -> str:
    """Return JSON with an entry a line."""
    return block(json.dumps(value, indent=2, ensure_ascii=False))


def job_name(job_id: str, name: str | None) -> SafeString:
    """Return the name of a job with its id below, or the one text if both are the same."""
    shown = one_line(repr(job_id)[1:-1] if not job_id.isprintable() else job_id)
    if not name or name == job_id:
        return format_html('<span class="apscheduler-name">{}</span>', shown)
    return format_html('<span class="apscheduler-name">{}</span>', stacked(one_line(name), shown))


def job_link(job_id: str, name: str | None) -> SafeString:
    """Return a job, linked to its page; `name` is None if it exists no more."""
    if name is None:
        return stacked(job_name(job_id, None), _("removed"))
    return link(page_address(DjangoJob, job_id), job_name(job_id, name))


def node_link(node_id: int | None, name: str | None) -> str:
    """Return the node that took a run, linked to its page; `name` is None if its row is gone."""
    if node_id is None:
        return EMPTY
    if name is None:
        return f"#{node_id}"
    text = format_html('<span class="apscheduler-text">{} (#{})</span>', name, node_id)
    return link(page_address(SchedulerNode, node_id), text)


def page_address(model: type[Model], pk: Any, page: str = "change") -> str:
    """Return the address of an object's page; any text is a good `pk`."""
    return reverse(f"admin:{_prefix(model)}_{page}", args=[quote(pk)])


def list_address(model: type[Model], **filters: Any) -> str:
    """Return the address of a list with these filters."""
    address = reverse(f"admin:{_prefix(model)}_changelist")
    return f"{address}?{urlencode(filters)}" if filters else address


def link(address: str, text: object) -> SafeString:
    """Return a link."""
    return format_html('<a href="{}">{}</a>', address, text)


def _prefix(model: type[Model]) -> str:
    return f"{model._meta.app_label}_{model._meta.model_name}"
