"""Count what became of the jobs: by the ledger, with the tables only as the other witness."""

from __future__ import annotations

from collections import defaultdict

from async_apscheduler.models import DjangoJobExecution, Status
from tests.acceptance.faults.book import Book
from tests.acceptance.faults.fault import Outcome

TOLD = {Status.LOST, Status.SKIPPED, Status.CANCELLED}
"""Ends that say why there was no start."""


def tally(book: Book, keys: list[str], *, repeatable: set[str]) -> Outcome:
    """Count for jobs that have one fire each; `repeatable` may be started again after a loss.

    A fire is lost if its job did not start and no row says why. It is unaccounted for if it
    started and has no row, or has a row of success and did not start.
    """
    starts = book.starts()
    rows = statuses_by_job()
    told = {key for key in keys if rows[key] & TOLD}
    succeeded = {key for key in keys if Status.SUCCEEDED in rows[key]}
    started = {key for key in keys if starts[key]}
    silent = [key for key in keys if key not in started and key not in told]
    doubled = {key: starts[key] - 1 for key in started - repeatable if starts[key] > 1}
    only_in_ledger = [key for key in started if not rows[key]]
    outcome = Outcome(
        due=len(keys),
        lost=len(silent),
        doubled=sum(doubled.values()),
        unaccounted=len(only_in_ledger) + len(succeeded - started),
    )
    _name(outcome, "lost", [f"{key} ({', '.join(rows[key]) or 'no row'})" for key in silent])
    _name(outcome, "run twice", list(doubled))
    _name(outcome, "without a row", only_in_ledger)
    _name(outcome, "recorded as succeeded, but not started", list(succeeded - started))
    return outcome


def statuses_by_job() -> defaultdict[str, set[str]]:
    """Return the statuses of all rows by the id of the job."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for job_id, status in DjangoJobExecution.objects.values_list("job_id", "status"):
        found[job_id].add(status)
    return found


def _name(outcome: Outcome, what: str, keys: list[str]) -> None:
    if keys:
        more = " ..." if len(keys) > 5 else ""
        outcome.seen.append(f"{what}: {', '.join(sorted(keys)[:5])}{more}")
