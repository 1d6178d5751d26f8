"""What is measured in which order: rounds, places, workloads, contenders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.benchmarks.options import Options
from tests.benchmarks.sides import SIDES, Durability
from tests.benchmarks.workload import Contender, Workload
from tests.databases import Database


@dataclass(frozen=True, slots=True)
class Place:
    """A database at a durability."""

    database: Database
    durability: Durability

    def __str__(self) -> str:
        suffix = "" if self.durability == "full" else f", {self.durability}"
        return f"{self.database.vendor}{suffix}"


@dataclass(frozen=True, slots=True)
class Table:
    """Measurements that are compared with each other: a workload at a scale."""

    name: str
    workload: Workload
    scale: Mapping[str, int]

    def __str__(self) -> str:
        return f"{self.name}: {self.workload.title.format(**self.scale)}"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement to be made."""

    round: int
    """From 0."""

    table: int
    """Index of its table."""

    place: Place
    contender: Contender


def tables(options: Options) -> list[Table]:
    """Return the tables that will be printed."""
    return [
        Table(name, workload, scale)
        for name, workload in options.workloads.items()
        for scale in _scales(workload, options)
    ]


def _scales(workload: Workload, options: Options) -> Sequence[Mapping[str, int]]:
    if options.quick:
        return workload.quick_scales
    return [*workload.scales, *(workload.long_scales if options.long else ())]


def places(database: Database, *, quick: bool) -> list[Place]:
    """Return in which ways a database is used."""
    if database.vendor == "sqlite" and not quick:
        return [Place(database, "full"), Place(database, "normal")]
    return [Place(database, "full")]


def _places_of(table: Table, where: Sequence[Place], options: Options) -> Sequence[Place]:
    """Return where a table is measured: once for a first impression, unless places were named."""
    if not options.quick or options.named:
        return where
    return [place for place in where if place.database.vendor in table.workload.vendors][:1]


def contenders(table: Table, place: Place, options: Options) -> list[Contender]:
    """Return who takes part."""
    workload, vendor = table.workload, place.database.vendor
    if vendor not in workload.vendors:
        return []
    if place.durability == "normal" and not workload.normal_durability:
        return []
    size = next(iter(table.scale.values()))
    return [
        contender
        for contender in workload.contenders
        if contender.side in options.sides
        and vendor in SIDES[contender.side].vendors
        and vendor in contender.vendors
        and (contender.when_quick or not options.quick)
        and (contender.up_to is None or size <= contender.up_to)
    ]


def measurements(
    options: Options, planned: Sequence[Table], where: Sequence[Place]
) -> Iterator[Measurement]:
    """Yield all measurements, in their order.

    Rounds are outermost and the contenders of a table follow each other directly, so that whatever
    slows the machine down for some minutes slows all of them down; every other round goes
    backwards, so that nobody is always the first.
    """
    for number in range(options.rounds):
        for place in where:
            for index, table in enumerate(planned):
                if place not in _places_of(table, where, options):
                    continue
                order = contenders(table, place, options)
                for contender in order if number % 2 == 0 else reversed(order):
                    yield Measurement(number, index, place, contender)
