"""One measurement in a process of its own: prints one JSON line.

    python -m tests.benchmarks.measure w1 ours coroutines '{"jobs": 1000}'

runs in the environment of the side, on the server that TEST_DATABASE names (default: SQLite); the
runner sets that and the other variables of tests/databases.py.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import cast

from tests.benchmarks.measuring import peak_rss
from tests.benchmarks.node import DURABILITY
from tests.benchmarks.project import (
    NotDurableError,
    describe_database,
    set_up,
    spare_the_collector,
)
from tests.benchmarks.sides import SIDES, Side
from tests.benchmarks.workload import known_workloads
from tests.databases import Vendor


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.measure")
    parser.add_argument("workload")
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("variant")
    parser.add_argument("scale", type=json.loads, help="keyword arguments of measure(), as JSON")
    parser.add_argument("--durability", choices=("full", "normal"), default="full")
    options = parser.parse_args()
    side = SIDES[options.side]
    os.environ.setdefault("TEST_RUN_ID", "benchmark_by_hand")
    os.environ[DURABILITY] = options.durability
    vendor = cast(Vendor, os.environ.get("TEST_DATABASE", "sqlite"))
    try:
        needs_admin = known_workloads()[options.workload].needs_admin
        set_up(side, vendor, options.durability, needs_admin=needs_admin)
    except NotDurableError as error:
        sys.exit(str(error))
    # Imported late: its models need the settings.
    numbers = _numbers(options.workload, side, options.variant, options.scale)
    result = {
        "numbers": {"peak_rss": peak_rss(), **numbers},
        "database": describe_database(),
        "versions": _versions(side),
    }
    print(json.dumps(result), flush=True)


def _numbers(workload: str, side: Side, variant: str, scale: dict[str, int]) -> dict[str, float]:
    """Measure as the side's own file in the workload's folder does it, or as for all sides."""
    package = f"tests.benchmarks.{workload}"
    if find_spec(f"{package}.{side.module}"):
        own = import_module(f"{package}.{side.module}")
        spare_the_collector()
        return dict(own.measure(variant, **scale))
    shared = import_module(f"{package}.measuring")
    spare_the_collector()
    return dict(shared.measure(side, variant, **scale))


def _versions(side: Side) -> str:
    names = ("Django", *side.packages)
    return ", ".join(f"{name} {version(name)}" for name in names)


if __name__ == "__main__":
    main()
