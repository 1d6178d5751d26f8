"""The hot statements use the indexes that are there for them: the database's own plans say so."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from async_apscheduler.engine.claims import Claims
from async_apscheduler.engine.keeping import Housekeeping
from async_apscheduler.engine.nodes import Node
from async_apscheduler.engine.outlook import Lookout
from async_apscheduler.jobstores import DjangoJobStore
from async_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerNode, Status

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

JOBS = 3_000
DUE_JOBS = 20
JOBS_WITH_RUNS = 50
RUNS_PER_JOB = 100
ACTIVE_RUNS = 20
NODES = 2_000
LIVING_NODES = 3

MODELS = (DjangoJob, DjangoJobExecution, SchedulerNode)
ALL_RUNS, ALL_NODES = (model._meta.db_table for model in MODELS[1:])

JOB_DUE = "apscheduler_job_due"
RUN_STATUS = "apscheduler_run_status"
RUN_TIME = "apscheduler_run_time"
RUN_ONCE = {
    "sqlite": f"sqlite_autoindex_{ALL_RUNS}_1",  # SQLite does not take the name of a constraint
    "postgresql": "apscheduler_run_once",
    "mysql": "apscheduler_run_once",
}
NODE_ALIVE = "apscheduler_node_alive"

Reading = tuple[set[str], set[str]]
"""The indexes that a plan uses, and the tables that it reads from end to end."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How the database carries out a statement."""

    text: str
    """What the database was asked and what it said, for the message of a failing test."""
    indexes: set[str]
    scanned: set[str]
    """Tables that are read from end to end."""


def plan_on_sqlite(rows: list[Any]) -> Reading:
    """Read the answer to EXPLAIN QUERY PLAN: a line of text for each step."""
    details = [row[-1] for row in rows]
    indexes = {
        name for line in details for name in re.findall(r"USING (?:COVERING )?INDEX (\w+)", line)
    }
    scans = [re.fullmatch(r"SCAN (\w+)", line) for line in details]
    return indexes, {scan[1] for scan in scans if scan}


def plan_on_postgresql(rows: list[Any]) -> Reading:
    """Read the answer to EXPLAIN (FORMAT JSON): a tree of nodes."""
    nodes = list(dicts_in(rows[0][0]))
    indexes = {node["Index Name"] for node in nodes if "Index Name" in node}
    scans = [node for node in nodes if node.get("Node Type") == "Seq Scan"]
    return indexes, {node["Relation Name"] for node in scans}


def plan_on_mariadb(rows: list[Any]) -> Reading:
    """Read the answer to EXPLAIN FORMAT=JSON; `possible_keys` there are not used yet."""
    tables = [node for node in dicts_in(json.loads(rows[0][0])) if "table_name" in node]
    indexes = {table["key"] for table in tables if "key" in table}
    return indexes, {table["table_name"] for table in tables if table.get("access_type") == "ALL"}


ON: dict[str, tuple[str, Callable[[list[Any]], Reading]]] = {
    "sqlite": ("EXPLAIN QUERY PLAN", plan_on_sqlite),
    "postgresql": ("EXPLAIN (FORMAT JSON)", plan_on_postgresql),
    "mysql": ("EXPLAIN FORMAT=JSON", plan_on_mariadb),
}


def dicts_in(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every dict in a tree of dicts and lists."""
    if isinstance(tree, dict):
        yield tree
    for child in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(child, (dict, list)):
            yield from dicts_in(child)


def plans_of(work: Callable[[], object]) -> list[Plan]:
    """Do the work, and return the plans of the very statements that it executed."""
    statements: list[tuple[str, Any]] = []

    def remember(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(("SELECT", "UPDATE", "DELETE")):
            statements.append((sql, params[0] if many else params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(remember):
        work()
    return [explained(*statement) for statement in statements]


def explained(statement: str, params: Any) -> Plan:
    """Ask the database for the plan of a statement."""
    explain, read = ON[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(f"{explain} {statement}", params)
        rows = cursor.fetchall()
    return Plan(f"{statement}\n{rows}", *read(rows))


def plan_of(work: Callable[[], object]) -> Plan:
    """Do the work, and return the plan of the one statement that it executed."""
    [plan] = plans_of(work)
    return plan


@pytest.fixture(scope="module", autouse=True)
def rows(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Thousands of rows, of which few matter now, and the database's statistics about them.

    Committed, because MariaDB's ANALYZE would end the transaction of a test.
    """
    with django_db_blocker.unblock():
        try:
            insert_jobs()
            insert_runs(insert_nodes())
            analyse()
            yield
        finally:
            for model in MODELS:
                model.objects.all().delete()


def insert_jobs() -> None:
    """Insert jobs that are due one after the other, the first ones already."""
    DjangoJob.objects.bulk_create(
        DjangoJob(
            id=f"job-{number}",
            name=f"Job {number}",
            func="tests.testapp.work:mark",
            trigger={"type": "interval", "hours": 1},
            next_run_time=NOW + MINUTE * (number - DUE_JOBS + 1),
        )
        for number in range(JOBS)
    )


def insert_nodes() -> SchedulerNode:
    """Insert nodes, nearly all long gone; return one that lives."""
    SchedulerNode.objects.bulk_create(
        SchedulerNode(
            name=f"node-{number}",
            started_at=NOW - MINUTE * number,
            heartbeat_at=NOW - MINUTE * number,
            state="running" if number < LIVING_NODES else "stopped",
            capacity=100,
        )
        for number in range(NODES)
    )
    node: SchedulerNode = SchedulerNode.objects.get(name="node-0")
    return node


def insert_runs(node: SchedulerNode) -> None:
    """Insert a history as it is: nearly all has ended, and left some lines of log."""
    runs = [
        DjangoJobExecution(
            job_id=f"job-{job}",
            run_time=NOW - MINUTE * number - timedelta(seconds=job),
            status=Status.SUCCEEDED,
            node=node,
            log="A line that the run has logged.\n" * 60,
        )
        for job in range(JOBS_WITH_RUNS)
        for number in range(RUNS_PER_JOB)
    ]
    for run in runs[: ACTIVE_RUNS * 2 : 2]:
        run.status = Status.RUNNING
    for run in runs[-ACTIVE_RUNS * 2 :: 2]:
        run.status, run.node = Status.PENDING, None
    DjangoJobExecution.objects.bulk_create(runs, batch_size=500)


def analyse() -> None:
    """Let the database count the rows."""
    command = "ANALYZE TABLE" if connection.vendor == "mysql" else "ANALYZE"
    with connection.cursor() as cursor:
        for model in MODELS:
            cursor.execute(f"{command} {model._meta.db_table}")


@pytest.fixture
def node() -> Node:
    """A scheduler that has joined."""
    node = Node("this", capacity=100)
    node.join()
    return node


@pytest.fixture
def claims(node: Node) -> Claims:
    """What claims for it."""
    return Claims(DjangoJobStore(), node, "default")


def test_an_index_that_is_not_there_is_missed() -> None:
    """The tests below can fail: a question without an index reads the table from end to end."""
    plan = plan_of(lambda: list(DjangoJobExecution.objects.filter(duration=1.5).order_by()))

    assert ALL_RUNS in plan.scanned, plan.text
    assert RUN_STATUS not in plan.indexes, plan.text


def test_due_jobs() -> None:
    """Jobs that are due are found, in their order, by the time of their next run."""
    plan = plan_of(lambda: list(DjangoJob.objects.due(NOW)))

    assert plan.indexes == {JOB_DUE}, plan.text
    assert not plan.scanned, plan.text


def test_jobs_that_wait_for_their_release() -> None:
    """They are looked for once a minute, by all nodes."""
    plan = plan_of(lambda: list(DjangoJob.objects.releasable()))

    assert plan.indexes == {JOB_DUE}, plan.text
    assert not plan.scanned, plan.text


def test_jobs_by_their_ids() -> None:
    """A second look at a few jobs reads these only, however many there are."""
    few = DjangoJob.objects.order_by().with_keys(["job-7", "job-70", "job-700"])

    plan = plan_of(lambda: list(few.values_list("pk", "version", "next_run_time")))

    assert JOB_DUE not in plan.indexes, plan.text
    assert not plan.scanned, plan.text


def test_a_look_at_what_there_is_to_do(node: Node) -> None:
    """Each part of the question that every pass asks goes by an index."""
    plan = plan_of(lambda: Lookout(node).look(NOW, ["default"]))

    assert {JOB_DUE, RUN_STATUS} <= plan.indexes, plan.text
    assert not plan.scanned, plan.text


def test_a_look_whether_there_is_news(node: Node) -> None:
    """The question that an idle node asks again and again goes by the same indexes."""
    known = Lookout(node).look(NOW, ["default"])

    plan = plan_of(lambda: Lookout(node).finds_news(["default"], known))

    assert {JOB_DUE, RUN_STATUS} <= plan.indexes, plan.text
    assert not plan.scanned, plan.text


def test_pending_runs() -> None:
    """Runs whose time has come are found by their status."""
    plan = plan_of(lambda: list(DjangoJobExecution.objects.ready(NOW).order_by()))

    assert plan.indexes == {RUN_STATUS}, plan.text
    assert not plan.scanned, plan.text


def test_a_claim_never_reads_the_whole_history(claims: Claims) -> None:
    """No statement of a pass that takes due and pending work reads all runs."""
    plans = plans_of(lambda: claims.claim(NOW, ["default"], room=100, active=0, pending=True))

    used = set[str]().union(*(plan.indexes for plan in plans))
    assert {JOB_DUE, RUN_STATUS} <= used
    assert [plan.text for plan in plans if ALL_RUNS in plan.scanned] == []


def test_running_runs_of_some_jobs() -> None:
    """How many runs of a job are going on is counted by status and job."""
    jobs = [f"job-{number}" for number in range(100)]

    plan = plan_of(lambda: DjangoJobExecution.objects.count_running(jobs))

    assert plan.indexes == {RUN_STATUS}, plan.text
    assert not plan.scanned, plan.text


def test_the_first_page_of_the_history() -> None:
    """The latest runs are read in the order of the index, not sorted."""
    newest = DjangoJobExecution.objects.order_by("-run_time", "-pk")

    plan = plan_of(lambda: list(newest[:100]))

    assert plan.indexes == {RUN_TIME}, plan.text
    assert not plan.scanned, plan.text


def test_the_history_of_a_job() -> None:
    """The latest runs of a job are found by the constraint that keeps them unique."""
    newest = DjangoJobExecution.objects.order_by("-run_time", "-pk")

    plan = plan_of(lambda: list(newest.filter(job_id="job-7")[:100]))

    assert plan.indexes == {RUN_ONCE[connection.vendor]}, plan.text
    assert not plan.scanned, plan.text


def test_silent_nodes() -> None:
    """Nodes that should live but are silent are found among many that are gone."""
    plan = plan_of(lambda: list(SchedulerNode.objects.silent_since(NOW - MINUTE)))

    assert plan.indexes == {NODE_ALIVE}, plan.text
    assert not plan.scanned, plan.text


def test_what_a_node_does_at_each_sign_of_life(node: Node) -> None:
    """Rescuing the runs of lost nodes and tidying up read neither all runs nor all nodes."""

    def keep_house() -> None:
        node.beat(running=0, lag=0.0)
        node.rescue()
        Housekeeping(node, None).keep()

    plans = plans_of(keep_house)

    assert [plan.text for plan in plans if plan.scanned & {ALL_RUNS, ALL_NODES}] == []
