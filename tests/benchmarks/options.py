"""The command line, read by the entry script and again by the runner behind it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from tests.arguments import names_of, positive
from tests.benchmarks.sides import OURS, REFERENCE, SIDES
from tests.benchmarks.workload import Workload, known_workloads
from tests.databases import VENDORS, Vendor

ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for."""

    workloads: dict[str, Workload]
    databases: list[Vendor]
    named: bool
    """True if the databases were named: one that is not reachable is then a failure."""

    rounds: int
    quick: bool
    long: bool
    ours_only: bool
    only: list[str]
    """Names of the sides that were asked for; ours has to be among them, as it runs the rest."""

    output: Path | None

    @property
    def sides(self) -> list[str]:
        """Names of the sides to measure."""
        if self.ours_only:
            return [OURS]
        taking_part = set().union(*(workload.sides for workload in self.workloads.values()))
        # The runner lives in our environment, whoever takes part.
        return [name for name in SIDES if name == OURS or name in taking_part & set(self.only)]


def parse_options() -> Options:
    """Read sys.argv; print what is wrong with it and exit, if anything is."""
    known = known_workloads()
    parser = argparse.ArgumentParser(
        prog="tests/benchmarks/run",
        description="Measure ours and its peers side by side on every database found here.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"each workload once, small, on one database: {OURS} beside {REFERENCE}",
    )
    parser.add_argument(
        "--long", action="store_true", help="also what takes more than some minutes each"
    )
    parser.add_argument(
        "--sides",
        type=names_of(tuple(SIDES)),
        metavar="NAME,NAME",
        help=f"only {OURS} and these of {', '.join(SIDES)}",
    )
    parser.add_argument(
        "--databases",
        type=names_of(VENDORS),
        metavar="NAME,NAME",
        help=f"only these of {', '.join(VENDORS)}; one that is not reachable is then a failure",
    )
    parser.add_argument(
        "--workloads",
        type=names_of(tuple(known)),
        default=list(known),
        metavar="NAME,NAME",
        help=f"only these of {', '.join(known)}",
    )
    parser.add_argument(
        "--rounds",
        type=positive,
        metavar="N",
        help=f"how often everything is measured (default: {ROUNDS}, with --quick 1)",
    )
    parser.add_argument(
        "--ours-only",
        action="store_true",
        help="no peers, and no environments: use the interpreter that runs this",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="also append each measurement, a JSON line"
    )
    given = parser.parse_args()
    sides = [OURS, REFERENCE] if given.quick else list(SIDES)
    return Options(
        workloads={name: known[name] for name in given.workloads},
        databases=given.databases or list(VENDORS),
        named=given.databases is not None,
        rounds=given.rounds or (1 if given.quick else ROUNDS),
        quick=given.quick,
        long=given.long,
        only=given.sides or sides,
        ours_only=given.ours_only,
        output=given.output,
    )
