"""Ask for the two lists of a side's admin, some times over."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator
from itertools import islice

from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

REPETITIONS = 7
CHUNK = 10_000
"""Rows that are in memory at once while they are inserted."""


def insert(rows: Iterable[Model]) -> None:
    """Insert rows of one model, however many."""
    waiting = iter(rows)
    for chunk in _chunks(waiting):
        type(chunk[0])._default_manager.bulk_create(chunk, batch_size=1000)


def times_of_pages(*, jobs: type[Model], runs: type[Model]) -> dict[str, float]:
    """Return the numbers of the workload."""
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("benchmark"))
    runs_page, runs_queries = _times_of(client, runs)
    jobs_page, jobs_queries = _times_of(client, jobs)
    return {
        "runs_page": runs_page,
        "runs_queries": runs_queries,
        "jobs_page": jobs_page,
        "jobs_queries": jobs_queries,
    }


def _times_of(client: Client, model: type[Model]) -> tuple[float, int]:
    options = model._meta
    url = reverse(f"admin:{options.app_label}_{options.model_name}_changelist")
    with CaptureQueriesContext(connection) as queries:  # the first one, which also warms up
        _get(client, url)
    count = len(queries)  # before the next request clears the log
    taken = []
    for _ in range(REPETITIONS):
        began = time.perf_counter()
        _get(client, url)
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken), count


def _get(client: Client, url: str) -> None:
    response = client.get(url)
    if response.status_code != 200:
        raise RuntimeError(f"{url} answers {response.status_code}.")


def _chunks(rows: Iterator[Model]) -> Iterator[list[Model]]:
    while chunk := list(islice(rows, CHUNK)):
        yield chunk
