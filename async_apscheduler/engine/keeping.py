"""What a node does beside claiming: rescue of others' runs, releases, and what is left over."""

from __future__ import annotations

import time
from typing import Any

from django.db.models import Count, Exists, OuterRef, Subquery
from django.db.models.functions import Coalesce

from async_apscheduler.conf import get_settings
from async_apscheduler.engine.nodes import Node
from async_apscheduler.jobstores import RELEASE_INTERVAL, DjangoJobStore
from async_apscheduler.models import DjangoJob, DjangoJobExecution, Reason, SchedulerNode, Status
from async_apscheduler.models.compiled import Question, Slot
from async_apscheduler.models.fields import MomentField
from async_apscheduler.models.statuses import ACTIVE
from async_apscheduler.signals import job_poisonous, nodes_lost

AT_ONCE = 0.005
"""Seconds that are not worth a sleep: another look would cost more."""


class Housekeeping:
    """Does it as often as the heart beats; synchronous, in the pass's database lane."""

    def __init__(self, node: Node, store: DjangoJobStore | None) -> None:
        self._node = node
        self._store = store
        self._chores = Question(_chores_of)
        self._due_at = 0.0
        self._release_at = 0.0
        self.rests = False
        """Set while this node only looks on, because its scheduler was started paused."""

    def seconds_to_next(self) -> float:
        """Return how long the pass may sleep before it is time for this again."""
        if self.rests:
            return get_settings().heartbeat_interval
        seconds = self._due_at - time.monotonic()
        return seconds if seconds > AT_ONCE else 0.0

    def keep(self) -> bool:
        """Do it; return True if that may have made work for a pass.

        Raises whatever the database raises.
        """
        now = time.monotonic()
        nodes_are_silent, runs_lack_jobs, jobs_are_over, others = self._look()
        self._node.peers = others + 1
        if nodes_are_silent:
            self._rescue()
        if runs_lack_jobs:
            _runs_without_job().update(
                status=Status.CANCELLED, reason=Reason.REMOVED, finished_at=self._node.now()
            )
        if jobs_are_over:
            _jobs_that_are_over(get_settings().environment).delete()
        may_release = now >= self._release_at
        if may_release:
            self._release_readable()
            self._release_at = now + RELEASE_INTERVAL.total_seconds()
        self._due_at = now + get_settings().heartbeat_interval
        return nodes_are_silent or may_release

    def _look(self) -> tuple[Any, ...]:
        """Return what there is to do, by one query: to write may lock for nothing."""
        node, limit = self._node.id, self._node.silence_limit()
        found = self._chores.ask(get_settings().environment, node=node, limit=limit)
        return found[0] if found else (True, True, True, 0)

    def _release_readable(self) -> None:
        if self._store is not None:
            self._store.release_readable()

    def _rescue(self) -> None:
        rescue = self._node.rescue()
        if rescue.names:
            nodes_lost.send_robust(type(self), names=rescue.names, runs=rescue.runs)
        for job_id in rescue.poisonous:
            job_poisonous.send_robust(type(self), job_id=job_id)


def _chores_of(environment: str) -> Any:
    """Return a query for whether there are nodes, runs and jobs to be dealt with, and for how many
    others share the work.

    Its slots are `node` and `limit`, see Node.silence_limit().
    """
    node = Slot("node", SchedulerNode._meta.pk)
    silent = SchedulerNode.objects.silent_since(Slot("limit", MomentField()))
    sharers = SchedulerNode.objects.running().others(environment, node)
    return SchedulerNode.objects.filter(pk=node).values_list(
        Exists(silent.others(environment, node)),
        Exists(_runs_without_job()),
        Exists(_jobs_that_are_over(environment)),
        Coalesce(Subquery(_number_of(sharers)), 0),
    )


def _number_of(nodes: Any) -> Any:
    """Return a query for how many nodes there are; it has no row if there are none."""
    return nodes.order_by().values("environment").annotate(nodes=Count("pk")).values("nodes")


def _runs_without_job() -> Any:
    """Return pending runs whose job is gone."""
    job = DjangoJob.objects.filter(pk=OuterRef("job_id"))
    return DjangoJobExecution.objects.pending().filter(~Exists(job))


def _jobs_that_are_over(environment: str) -> Any:
    """Return jobs that only waited for their last run."""
    active = DjangoJobExecution.objects.filter(job_id=OuterRef("pk"), status__in=ACTIVE)
    jobs = DjangoJob.objects.filter(environment=environment)
    return jobs.exhausted().filter(~Exists(active))
