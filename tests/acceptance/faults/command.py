"""Play all faults that were asked for, on every database found here, and print the table.

`tests/acceptance/run` calls this in the environment of the tests; in one of your own, call
`python -m tests.acceptance.faults.command` with the same arguments. It ends with an exit code of 1
if a promise was broken, or with `--prove` if a spoilt scheduler passed for a sound one.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
from contextlib import ExitStack

from tests.acceptance.faults.fault import Fault
from tests.acceptance.faults.options import Options, parse_options
from tests.acceptance.faults.playing import Played, kept_line, play, played_before
from tests.acceptance.faults.report import (
    describe_broken,
    describe_seen,
    describe_skipped,
    describe_table,
    rows_of,
)
from tests.benchmarks.machine import describe_load, describe_machine, describe_revision
from tests.databases import Database, NotReachableError, opened


def main() -> int:
    options = parse_options()
    if options.read:
        lines = [line for file in options.read for line in file.read_text().splitlines()]
        return _report([played_before(line) for line in lines], is_proof=options.is_proof)
    # A stop request must reach the clean-up below: a server started here would outlive the run.
    for request in (signal.SIGINT, signal.SIGTERM):
        signal.signal(request, lambda number, _: sys.exit(128 + number))
    os.environ["TEST_RUN_ID"] = f"faults_{os.getpid()}_{secrets.token_hex(3)}"
    circumstances = [
        describe_machine(),
        f"load at the start: {describe_load()}",
        f"revision: {describe_revision()}",
    ]
    with ExitStack() as stack:
        databases, missing = _open_databases(options, stack)
        played = _play_all(options, databases)
    code = _report(played, is_proof=options.is_proof)
    _print_list("Machine", [*circumstances, *(str(database) for database in databases)])
    _print_list("Not reachable", missing)
    is_incomplete = bool(missing) and options.are_databases_named
    return 1 if is_incomplete else code


def _report(played: list[Played], *, is_proof: bool) -> int:
    """Print the table, and return the exit code."""
    rows = rows_of(played)
    if rows:
        print(f"\n{describe_table(rows, is_proof=is_proof)}")
    _print_list("Skipped", describe_skipped(played))
    _print_list("Seen", describe_seen(rows))
    _print_list("Broken on purpose" if is_proof else "BROKEN", describe_broken(rows))
    is_as_promised = all(bool(row.total.broken) == is_proof for row in rows)
    return 0 if rows and is_as_promised else 1


def _open_databases(options: Options, stack: ExitStack) -> tuple[list[Database], list[str]]:
    """Return where to play, and a line for each database that cannot be reached."""
    found, missing = [], []
    for vendor in options.databases:
        try:
            found.append(stack.enter_context(opened(vendor)))
        except NotReachableError as error:
            missing.append(f"{vendor}: {error}")
    return found, missing


def _play_all(options: Options, databases: list[Database]) -> list[Played]:
    return [
        _play(options, fault, database, number)
        for fault in options.faults
        if options.is_due(fault)
        for database in databases
        if database.vendor in fault.vendors
        for number in range(1, options.rounds_of(fault) + 1)
    ]


def _play(options: Options, fault: Fault, database: Database, number: int) -> Played:
    print(
        f"{fault.name} on {database.vendor}, round {number}: ", end="", flush=True, file=sys.stderr
    )
    played = play(
        fault,
        database.vendor,
        url=database.url,
        is_long=options.is_long,
        is_proof=options.is_proof,
    )
    outcome = played.outcome
    said = played.skipped or "; ".join(outcome.broken) or f"{outcome.due:,} due, all well"
    print(said, flush=True, file=sys.stderr)
    if options.output is not None:
        with options.output.open("a") as file:
            file.write(f"{kept_line(played, number)}\n")
    return played


def _print_list(title: str, lines: list[str]) -> None:
    if lines:
        print(f"\n{title}:\n")
        for line in lines:
            print(f"- {line}")


if __name__ == "__main__":
    sys.exit(main())
