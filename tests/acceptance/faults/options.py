"""The command line of tests/acceptance/run."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.faults.catalogue import FAULTS
from tests.acceptance.faults.fault import Fault
from tests.arguments import names_of, positive
from tests.databases import VENDORS, Vendor


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for."""

    databases: list[Vendor]
    are_databases_named: bool
    """True if they were named: one that is not reachable is then a failure."""

    faults: list[Fault]
    are_faults_named: bool
    """True if they were named: those of the long form are then played in the quick form as well."""

    rounds: int | None
    is_long: bool
    is_proof: bool
    output: Path | None
    read: list[Path]
    """Files of earlier outputs, to be printed instead of anything being played."""

    def rounds_of(self, fault: Fault) -> int:
        """Return how often a fault is to be played on each database."""
        if self.rounds is not None:
            return self.rounds
        return fault.rounds if self.is_long and not self.is_proof else 1

    def is_due(self, fault: Fault) -> bool:
        """Return True if the fault belongs to what was asked for."""
        return self.is_long or self.are_faults_named or not fault.long_only


def parse_options() -> Options:
    """Read sys.argv; print what is wrong with it and exit, if anything is."""
    parser = argparse.ArgumentParser(
        prog="tests/acceptance/run",
        description="Inject faults into real schedulers, count with a ledger, print a table.",
        epilog=f"The faults are: {', '.join(FAULTS)}.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--databases",
        type=names_of(VENDORS),
        metavar="NAME,NAME",
        help=f"only these of {', '.join(VENDORS)}; one that is not reachable is then a failure",
    )
    parser.add_argument(
        "--faults",
        type=names_of(tuple(FAULTS)),
        metavar="NAME,NAME",
        help="only these",
    )
    parser.add_argument(
        "--rounds",
        type=positive,
        metavar="N",
        help="how often each is played (default: 1; with --long 1 to 20, as the fault needs)",
    )
    parser.add_argument(
        "--long", action="store_true", help="longer outages, more rounds, and the endurance tests"
    )
    parser.add_argument(
        "--prove",
        action="store_true",
        help="take a protection away from the scheduler, and fail if that is not seen",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="also append each round to FILE, a JSON line"
    )
    parser.add_argument(
        "--read",
        type=Path,
        metavar="FILE",
        nargs="+",
        default=[],
        help="play nothing, print the table of what --output has kept in these files",
    )
    given = parser.parse_args()
    return Options(
        databases=given.databases or list(VENDORS),
        are_databases_named=given.databases is not None,
        faults=[FAULTS[name] for name in given.faults or FAULTS],
        are_faults_named=given.faults is not None,
        rounds=given.rounds,
        is_long=given.long,
        is_proof=given.prove,
        output=given.output,
        read=given.read,
    )
