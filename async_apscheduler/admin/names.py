"""The names of jobs and nodes beside rows that outlive them.

They are not joined: Django trusts the foreign keys and would leave out rows whose job or node is
gone, and these have no constraint.
"""

from __future__ import annotations

from django.db.models import OuterRef, QuerySet, Subquery

from async_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerNode


def with_names(runs: QuerySet[DjangoJobExecution]) -> QuerySet[DjangoJobExecution]:
    """Return the runs with `job_name` and `node_name`, each None if that row is gone."""
    return runs.annotate(job_name=name_of_job(), node_name=_name_of_node())


def name_of_job() -> Subquery:
    """Return the name of the job that the row's `job_id` names, or NULL."""
    return Subquery(DjangoJob.objects.filter(pk=OuterRef("job_id")).values("name")[:1])


def _name_of_node() -> Subquery:
    return Subquery(SchedulerNode.objects.filter(pk=OuterRef("node_id")).values("name")[:1])
