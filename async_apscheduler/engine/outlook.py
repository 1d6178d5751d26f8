"""Look what there is to do, by one indexed query; nothing is claimed.

All methods are synchronous and run in the pass's database lane.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q, Subquery

from async_apscheduler.conf import get_settings
from async_apscheduler.engine.nodes import Node
from async_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerNode
from async_apscheduler.models.compiled import Question, Slot
from async_apscheduler.models.fields import MomentField


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one look at the database found."""

    next_run_time: datetime | None
    """The earliest next run time of all jobs that this node may run."""

    available_at: datetime | None
    """The earliest time of a pending run whose time has not come."""

    runs_wait: bool
    """True if there are pending runs whose time has come."""

    cancel_requested: bool
    """True if somebody asked to cancel a run of this node."""


NEVER = datetime.max.replace(tzinfo=UTC)

NOTHING = Outlook(None, None, runs_wait=False, cancel_requested=False)


class Lookout:
    """Looks on behalf of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._outlook = Question(_outlook_of)
        self._as_known = Question(_as_known)

    def look(self, now: datetime, executors: Iterable[str]) -> Outlook:
        """Return what there is to do, by one indexed query.

        Raises NodeEvictedError.
        """
        found = self._outlook.ask(
            get_settings().environment, tuple(executors), now=now, node=self._node.id
        )
        if not found:
            raise self._node.evicted()
        return Outlook(*found[0])

    def finds_news(self, executors: Iterable[str], known: Outlook) -> bool:
        """Return True if there is something to do before what is known, by one indexed query.

        For a node without runs, to which neither is due; it also finds out if it was evicted.
        Processor time, with PyMySQL and in a process that has slept: 0.8 ms, look() takes 1.1.
        """
        return not self._as_known.has_answer(
            get_settings().environment,
            tuple(executors),
            node=self._node.id,
            next_run_time=known.next_run_time or NEVER,
            available_at=known.available_at or NEVER,
        )

    def runs_to_cancel(self) -> list[int]:
        """Return the keys of this node's runs that somebody asked to cancel."""
        runs = DjangoJobExecution.objects.running().on_node(self._node.id)
        return list(runs.filter(cancel_requested_at__isnull=False).values_list("pk", flat=True))


def _outlook_of(environment: str, executors: tuple[str, ...]) -> Any:
    """Return a query for the fields of an Outlook; its slots are `now` and `node`."""
    now = Slot("now", MomentField())
    due = DjangoJob.objects.for_node(environment, executors).scheduled().order_by("next_run_time")
    waiting = DjangoJobExecution.objects.ready(now)
    later = DjangoJobExecution.objects.pending().filter(available_at__gt=now)
    asked = DjangoJobExecution.objects.running().filter(
        node_id=OuterRef("pk"), cancel_requested_at__isnull=False
    )
    return _node().values_list(
        Subquery(due.values("next_run_time")[:1]),
        Subquery(later.order_by("available_at").values("available_at")[:1]),
        Exists(waiting),
        Exists(asked),
    )


def _as_known(environment: str, executors: tuple[str, ...]) -> Any:
    """Return a query with a row if nothing is to be done before its slots, those of an Outlook."""
    next_run_time, available_at = (
        Slot(name, MomentField()) for name in ("next_run_time", "available_at")
    )
    jobs = DjangoJob.objects.for_node(environment, executors).scheduled()
    sooner = jobs.filter(next_run_time__lt=next_run_time)
    waiting = DjangoJobExecution.objects.pending().filter(
        Q(available_at=None) | Q(available_at__lt=available_at)
    )
    return _node().filter(~Exists(sooner), ~Exists(waiting)).values_list("pk")


def _node() -> Any:
    """Return this node's row, which the slot `node` names, unless it was evicted."""
    return SchedulerNode.objects.alive().filter(pk=Slot("node", SchedulerNode._meta.pk))
