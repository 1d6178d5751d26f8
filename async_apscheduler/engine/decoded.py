"""Decoded jobs: each is decoded once for a version of its row, if possible before it is due.

All methods are synchronous and run in the pass's database lane.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from async_apscheduler import codec
from async_apscheduler.conf import get_settings
from async_apscheduler.engine.runs import LoadedJob
from async_apscheduler.exceptions import UnreadableJobError
from async_apscheduler.jobstores import DjangoJobStore
from async_apscheduler.models import DjangoJob
from async_apscheduler.models.compiled import Question, Slot
from async_apscheduler.models.fields import MomentField
from async_apscheduler.models.loading import JOB_FIELDS, RUN_OPTIONS

MAX_JOBS = 100_000
"""Jobs that are kept; beyond that the cache starts afresh."""

MAX_AHEAD = 10_000
"""Jobs that are decoded before they are due."""

PORTION = 200
"""Jobs that are decoded at once, so that others get their turn in the lane."""

OPTIONS = ("version", *RUN_OPTIONS, "lost_runs")
"""Columns of what APScheduler's Job has no place for."""

COLUMNS = ("pk", *JOB_FIELDS, *OPTIONS)
"""What is read of a row, in this order: what restore_job() asks of it, and the options."""

Row: Any = namedtuple("Row", COLUMNS)  # type: ignore[misc]  # mypy wants the names spelt out here
"""A row by the names of its columns; quicker to make than an instance of the model."""


class DecodedJobs:
    """A cache of decoded jobs."""

    def __init__(self, store: DjangoJobStore) -> None:
        self._store = store
        self._jobs: dict[str, LoadedJob] = {}
        self._due_soon = Question(_due_soon)
        self._jobs_by_id = Question(_jobs_by_id)
        self._upcoming: dict[str, int] = {}
        self.upcoming = 0
        """How many jobs were due soon at the last look ahead, MAX_AHEAD at most."""

    def load(
        self, versions: Mapping[str, int]
    ) -> tuple[dict[str, LoadedJob], list[UnreadableJobError]]:
        """Return the jobs by their ids, and why others cannot be restored.

        `versions` says which version of each row is meant.
        """
        loaded, missing = {}, []
        for job_id, version in versions.items():
            job = self._jobs.get(job_id)
            if job is not None and job.version == version:
                loaded[job_id] = job
            else:
                missing.append(job_id)
        errors: list[UnreadableJobError] = []
        if missing:
            if len(self._jobs) > MAX_JOBS:
                self._jobs.clear()
            for row in self._rows(missing):
                try:
                    loaded[row.pk] = self._jobs[row.pk] = self._decode(row)
                except UnreadableJobError as error:
                    errors.append(error)
        return loaded, errors

    def load_ahead(self, until: datetime, executors: Iterable[str]) -> bool:
        """Decode a portion of the jobs that are due by `until`; return True if there is more to do.

        Which jobs those are is asked again when all that the last answer named are done.
        """
        if not self._upcoming:
            known = self._jobs
            environment = get_settings().environment
            rows = self._due_soon.ask(environment, tuple(executors), until=until)
            self.upcoming = len(rows)
            for job_id, version in rows:
                if job_id not in known or known[job_id].version != version:
                    self._upcoming[job_id] = version
        portion = dict(islice(self._upcoming.items(), PORTION))
        for job_id in portion:
            del self._upcoming[job_id]
        self.load(portion)
        return bool(self._upcoming)

    def forget(self, job_ids: Iterable[str]) -> None:
        """Drop jobs that are gone."""
        for job_id in job_ids:
            self._jobs.pop(job_id, None)

    def _rows(self, job_ids: list[str]) -> Iterator[Any]:
        """Yield the rows of jobs, not as instances of the model: those take twice as long to make.

        Of each portion the last id is named until there are 2, 4, 8, ..., so that there are but a
        few queries to compile.
        """
        for start in range(0, len(job_ids), PORTION):
            portion = job_ids[start : start + PORTION]
            places = 1 << (len(portion) - 1).bit_length()
            portion += portion[-1:] * (places - len(portion))
            slots = {f"id_{place}": job_id for place, job_id in enumerate(portion)}
            yield from map(Row._make, self._jobs_by_id.ask(places, **slots))

    def _decode(self, row: Any) -> LoadedJob:
        options: dict[str, Any] = {name: getattr(row, name) for name in OPTIONS}
        job = self._store.restore(row)
        if codec.may_change(row.args, row.kwargs):
            options["decode"] = partial(
                codec.decode_arguments, row.args, row.kwargs, serializer=self._store.serializer
            )
        return LoadedJob(job=job, **options)


def _due_soon(environment: str, executors: tuple[str, ...]) -> Any:
    """Return a query for the first MAX_AHEAD jobs that are due by the slot `until`."""
    jobs = DjangoJob.objects.for_node(environment, executors)
    return jobs.due(Slot("until", MomentField())).values_list("pk", "version")[:MAX_AHEAD]


def _jobs_by_id(places: int) -> Any:
    """Return a query for the rows of so many jobs, whose ids are in the slots `id_0` and so on."""
    key = DjangoJob._meta.pk
    slots = [Slot(f"id_{place}", key) for place in range(places)]
    return DjangoJob.objects.filter(pk__in=slots).values_list(*COLUMNS)
