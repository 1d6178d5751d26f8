"""Make one measurement in a process of its own, in the environment of its side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.options import Options
from tests.benchmarks.plan import Measurement, Table
from tests.benchmarks.report import Outcome
from tests.benchmarks.sides import OURS, SIDES
from tests.databases import url_variable

ROOT = Path(__file__).resolve().parents[2]

TIME_LIMIT = 900
"""Seconds that a measurement may take."""


def make(measurement: Measurement, table: Table, options: Options) -> Outcome:
    """Make a measurement, say on stderr how it went, and append it to the output file."""
    place, contender = measurement.place, measurement.contender
    what = f"round {measurement.round + 1}, {place}, {table.name} {dict(table.scale)}, {contender}"
    print(f"{what}: ", end="", flush=True, file=sys.stderr)
    outcome = _outcome(measurement, table)
    first = table.workload.columns[0]
    numbers = outcome.numbers
    said = f"{numbers[first.key]:,.{first.digits}f} {first.title}" if numbers else outcome.problem
    print(said, flush=True, file=sys.stderr)
    if options.output is not None:
        with options.output.open("a") as file:
            file.write(f"{json.dumps(_line(outcome, table))}\n")
    return outcome


def _outcome(measurement: Measurement, table: Table) -> Outcome:
    try:
        done = subprocess.run(
            _command(measurement, table),
            cwd=ROOT,
            env=_environment(measurement),
            text=True,
            capture_output=True,
            timeout=TIME_LIMIT,
        )
    except subprocess.TimeoutExpired:
        return Outcome(measurement, problem=f"not finished within {TIME_LIMIT} seconds")
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        last = (done.stderr.strip() or "no output").splitlines()[-1]
        return Outcome(measurement, problem=f"exit code {done.returncode}: {last}")
    return Outcome(measurement, **json.loads(done.stdout.splitlines()[-1]))


def _command(measurement: Measurement, table: Table) -> list[str]:
    side = SIDES[measurement.contender.side]
    # This very process runs in the environment of our side.
    python = sys.executable if side.name == OURS else str(side.environment.python)
    return [
        *(python, "-m", "tests.benchmarks.measure"),
        *(table.name, side.name, measurement.contender.variant, json.dumps(dict(table.scale))),
        *("--durability", measurement.place.durability),
    ]


def _environment(measurement: Measurement) -> dict[str, str]:
    database = measurement.place.database
    environment = {**os.environ, "TEST_DATABASE": database.vendor}
    if database.url:
        environment[url_variable(database.vendor)] = database.url
    return environment


def _line(outcome: Outcome, table: Table) -> dict[str, object]:
    measurement = outcome.measurement
    return {
        "workload": table.name,
        "scale": dict(table.scale),
        "place": str(measurement.place),
        "side": measurement.contender.side,
        "variant": measurement.contender.variant,
        "round": measurement.round + 1,
        "at": time.time(),
        "numbers": dict(outcome.numbers),
        "database": outcome.database,
        "versions": outcome.versions,
        "problem": outcome.problem,
    }
