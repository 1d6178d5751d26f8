"""What makes a scheduler under test behave worse: faults that no signal can inject, and spoils.

A spoil takes one protection away, to show that its fault is seen where the protection is missing.
Each names what it replaces; if that is gone, the scheduler does not start, so that no proof is
passed by a spoil that spoils nothing.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

from django.conf import settings
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings

from async_apscheduler.models import DjangoJob, Status

SHARE_OF_FAILING_COMMITS = 0.2
RESULTS_BEFORE_DEATH = 3


def disturb(name: str) -> None:
    """Do what the name says, in this process. Raises LookupError if it does not fit any more."""
    DISTURBANCES[name]()


def _replace(module: str, name: str, make: Callable[[Any], Any]) -> None:
    """Put `make(original)` in the place of what is called `name`, such as `Node.rescue`."""
    owner: Any = import_module(f"async_apscheduler.{module}")
    *parents, last = name.split(".")
    for parent in parents:
        owner = getattr(owner, parent, None)
    if not hasattr(owner, last):
        raise LookupError(f"async_apscheduler.{module} has no {name}: mend disturbances.py.")
    setattr(owner, last, make(getattr(owner, last)))


def _set(**values: Any) -> None:
    changed = {**settings.ASYNC_APSCHEDULER, **values}
    override_settings(ASYNC_APSCHEDULER=changed).enable()


def _die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_after_claim() -> None:
    """Be killed when the first runs are claimed and none of them has begun."""

    def make(original: Any) -> Any:
        def begin(self: Any, runs: Any) -> None:
            if runs := list(runs):
                _die()
            original(self, runs)

        return begin

    _replace("engine.active", "ActiveRuns.begin", make)


def die_before_record() -> None:
    """Be killed when a few runs have ended and their results are about to be written."""

    def make(original: Any) -> Any:
        asked = 0

        def finish(self: Any, node_id: int, ends: list[dict[str, Any]]) -> int:
            nonlocal asked
            asked += len(ends)
            if asked >= RESULTS_BEFORE_DEATH:
                _die()
            return int(original(self, node_id, ends))

        return finish

    _replace("models.executions", "ExecutionQuerySet.finish", make)


def fail_commits() -> None:
    """Let some commits fail: half of them before they are done, half of them after."""
    commit = BaseDatabaseWrapper.commit

    def commit_or_fail(self: BaseDatabaseWrapper) -> None:
        chance = random.random()
        if chance < SHARE_OF_FAILING_COMMITS / 2:
            raise OperationalError("the connection was lost before the commit")
        commit(self)
        if chance < SHARE_OF_FAILING_COMMITS:
            raise OperationalError("the connection was lost after the commit")

    BaseDatabaseWrapper.commit = commit_or_fail  # type: ignore[method-assign]


def forgetful() -> None:
    """Spoil: after a commit in doubt, do not look whether it was done."""
    _replace("engine.claims", "Claims._confirmed", lambda _: lambda self: [])


def never_rescue() -> None:
    """Spoil: no node ever counts as lost."""
    _set(NODE_TIMEOUT=3600.0)


def no_fence() -> None:
    """Spoil: results are written even if the run was taken away meanwhile."""

    def make(original: Any) -> Any:
        def update_each(*args: Any, unless_changed: Any = None, **kwargs: Any) -> int:
            return int(original(*args, **kwargs))

        return update_each

    _replace("models.execution_words", "update_each", make)


def stubborn() -> None:
    """Spoil: at the end of a run its job is written as it was at the start."""

    def make(original: Any) -> Any:
        def finish(self: Any, node_id: int, ends: list[dict[str, Any]]) -> int:
            job_ids = list(self.filter(pk__in=[end["id"] for end in ends]).values_list("job_id"))
            jobs = DjangoJob.objects.filter(pk__in=[job_id for (job_id,) in job_ids])
            jobs.update(status="scheduled", next_run_time=datetime.now(UTC) + timedelta(hours=1))
            return int(original(self, node_id, ends))

        return finish

    _replace("models.executions", "ExecutionQuerySet.finish", make)


def brittle() -> None:
    """Spoil: the first failure ends the process."""
    _replace("engine.backoff", "Backoff.failed", lambda _: lambda self: os._exit(70))


def hasty() -> None:
    """Spoil: running jobs get no time to end."""
    _set(SHUTDOWN_TIMEOUT=0.1)


def loyal() -> None:
    """Spoil: the end waits for every thread that waits for the database."""
    command = "management.commands.runasyncscheduler"
    _replace(command, "closed_lanes_have_ended", lambda _: lambda limit: True)
    _replace("engine.staff", "Lane.interrupt", lambda _: lambda self: None)


def short_tempered() -> None:
    """Spoil: what a coroutine raises is left to the event loop."""

    def make(_: Any) -> Any:
        async def run_it(run: Any) -> None:
            run.result = await run.job.func(*run.job.args, **run.job.kwargs)
            run.end(Status.SUCCEEDED)

        return run_it

    _replace("engine.coroutines", "_run", make)


def headlong() -> None:
    """Spoil: runs of the same job that are going on do not count."""

    def make(original: Any) -> Any:
        def plan_fires(job: Any, now: datetime, *, active: int, room: int) -> Any:
            return original(job, now, active=0, room=room)

        return plan_fires

    _replace("engine.claims", "plan_fires", make)


def own_clock() -> None:
    """Spoil: each node goes by the clock of its own machine."""
    _replace("engine.nodes", "database_now", lambda _: lambda database: datetime.now(UTC))


DISTURBANCES: dict[str, Callable[[], None]] = {
    "die-after-claim": die_after_claim,
    "die-before-record": die_before_record,
    "fail-commits": fail_commits,
    "forgetful": forgetful,
    "never-rescue": never_rescue,
    "no-fence": no_fence,
    "stubborn": stubborn,
    "brittle": brittle,
    "hasty": hasty,
    "loyal": loyal,
    "headlong": headlong,
    "own-clock": own_clock,
    "short-tempered": short_tempered,
}
UPSTREAM = "upstream"
"""Not a disturbance but another scheduler: APScheduler's own on our job store, without claims."""
