"""Where a fault is played: a database of its own, a ledger, and the schedulers that were started.

The jobs are written by this process, as a web process would; the runs are counted by the ledger.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from async_apscheduler.models import DjangoJob, DjangoJobExecution
from async_apscheduler.models.scheduling import job_values
from tests.acceptance.faults.book import Book
from tests.acceptance.faults.fault import Outcome
from tests.acceptance.faults.nodes import Node
from tests.acceptance.faults.servers import Server
from tests.acceptance.faults.tally import tally
from tests.acceptance.faults.waiting import until
from tests.acceptance.processes import Process
from tests.databases import Vendor
from tests.testapp import ledger

LONG_AGO = timedelta(hours=3)
"""How long a probe is overdue, so that it is due by every clock that a fault may set."""


class Stage:
    """Starts schedulers, schedules jobs, and counts what became of them."""

    def __init__(
        self,
        vendor: Vendor,
        folder: Path,
        *,
        is_long: bool = False,
        spoil: str = "",
        server: Server | None = None,
    ) -> None:
        self.vendor = vendor
        self.is_long = is_long
        self.spoil = spoil
        self.server = server
        self.book = Book(folder / "ledger")
        self.nodes: list[Node] = []
        self._folder = folder
        self._commands: list[Process] = []

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in (*self.nodes, *self._commands):
            process.end()

    def pick(self, *, quick: float, long: float) -> float:
        """Return the number for the form that is played."""
        return long if self.is_long else quick

    def start(
        self,
        name: str,
        *options: str,
        disturb: str = "",
        settings: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
    ) -> Node:
        """Start a scheduler; `disturb` names something in disturbances.py."""
        names = [part for part in (disturb, self.spoil) if part and part != "jobs"]
        command = ["rundisturbedscheduler", *(f"--disturb={name}" for name in names)]
        node = Node(
            name,
            self._folder / f"{name}-{len(self.nodes)}.out",
            *(command if names else ["runasyncscheduler"]),
            *options,
            **self._environment(settings),
            **(environment or {}),
        )
        self.nodes.append(node)
        return node

    def start_command(self, *command: str) -> Process:
        """Start another command of the project."""
        process = Process(
            self._folder / f"command-{len(self._commands)}.out",
            *command,
            **self._environment(),
        )
        self._commands.append(process)
        return process

    def start_several(self, count: int, *options: str, **more: Any) -> list[Node]:
        """Start schedulers and wait until all of them work."""
        nodes = [self.start(f"node-{number}", *options, **more) for number in range(1, count + 1)]
        for node in nodes:
            node.wait_until_up()
        return nodes

    def schedule(
        self,
        keys: Iterable[str],
        function: Callable[..., Any] | Sequence[Callable[..., Any]],
        *arguments: Any,
        trigger: Callable[[int], BaseTrigger] | None = None,
        **options: Any,
    ) -> list[str]:
        """Store a job for each key, whose first argument it is; they take turns with `function`.

        `trigger` makes the trigger of the n-th; without it they are due at once.
        """
        functions = (function,) if callable(function) else function
        make = trigger or (lambda _: at_once())
        ids = list(keys)
        rows = [
            DjangoJob(
                **job_values(
                    functions[number % len(functions)],
                    make(number),
                    id=key,
                    args=[key, *arguments],
                    kwargs=None,
                    **options,
                )
            )
            for number, key in enumerate(ids)
        ]
        DjangoJob.objects.bulk_create(rows, batch_size=500)
        return ids

    def stream(self, prefix: str, seconds: float, *, every: float, lead: float = 0.5) -> list[str]:
        """Schedule jobs that become due one after the other for `seconds`; return their keys."""
        begin = datetime.now(UTC) + timedelta(seconds=lead)
        return self.schedule(
            [f"{prefix}-{number}" for number in range(int(seconds / every))],
            (ledger.enter, ledger.enter_plain),
            trigger=lambda number: once(begin + timedelta(seconds=number * every)),
        )

    def settle(self, keys: Iterable[str], limit: float) -> bool:
        """Wait until each key has a row of a finished run; return whether that came about."""
        wanted = set(keys)
        return until(lambda: wanted <= self._finished(), limit)

    def count(self, keys: Iterable[str], *, repeatable: Iterable[str] = ()) -> Outcome:
        """Count, by the ledger, what became of the keys."""
        return tally(self.book, list(keys), repeatable=set(repeatable))

    def probe(
        self, limit: float = 10.0, *, functions: Sequence[Callable[..., Any]] = (ledger.enter,)
    ) -> float | None:
        """Schedule a job of each function; return the seconds until all started, or None."""
        keys = [f"probe-{time.time_ns()}-{number}" for number in range(len(functions))]
        self.schedule(keys, functions)
        began = time.monotonic()
        started = until(lambda: all(map(self.book.started_at, keys)), limit)
        return time.monotonic() - began if started else None

    def stop(self, node: Node, limit: float = 15.0) -> int | None:
        """Send SIGTERM and return the exit code, or None if it does not end in time."""
        node.send(signal.SIGTERM)
        return node.wait() if node.wait_for_end(limit) else None

    def _environment(self, settings: dict[str, Any] | None = None) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "tests.acceptance.faults.settings",
            "TEST_LEDGER": str(self.book.path),
            "FAULTS_SETTINGS": json.dumps(settings or {}),
        }

    @staticmethod
    def _finished() -> set[str]:
        return set(DjangoJobExecution.objects.finished().values_list("job_id", flat=True))


def once(moment: datetime) -> DateTrigger:
    """Return the trigger of a one-off job."""
    return DateTrigger(moment, timezone=UTC)


def at_once() -> DateTrigger:
    """Return the trigger of a job that is overdue by every clock."""
    return once(datetime.now(UTC) - LONG_AGO)


def hourly(first: datetime) -> IntervalTrigger:
    """Return the trigger of a recurring job, of which one fire falls into the time of a fault."""
    return IntervalTrigger(hours=1, start_date=first, timezone=UTC)
