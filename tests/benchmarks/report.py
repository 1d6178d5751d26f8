"""From measurements to tables: medians [lowest..highest], and ratios within each round."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tests.benchmarks.plan import Measurement, Place, Table
from tests.benchmarks.sides import OURS, SIDES
from tests.benchmarks.workload import PEAK_RSS, Contender, Workload

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a measurement."""

    measurement: Measurement
    numbers: Mapping[str, float] = field(default_factory=dict)
    """By the key of a column; empty if it failed."""

    database: str = ""
    versions: str = ""
    problem: str = ""
    """Why there are no numbers."""


def describe_table(table: Table, index: int, outcomes: Sequence[Outcome], rounds: int) -> str:
    """Return a table in Markdown that is also readable as it is."""
    mine = [outcome for outcome in outcomes if outcome.measurement.table == index]
    if not mine:
        return f"### {table}\n\nNot measured: no database for it, or no side."
    workload = table.workload
    columns = (*workload.columns, PEAK_RSS)
    better = "times better than" if workload.less_is_better else "times"
    against = workload.reference
    compared = f"{better} {against if against.side == OURS else against.side}"
    head = ["database", "scheduler", columns[0].title, compared]
    rows = [[*head, *(column.title for column in columns[1:])]]
    for place in _in_order(outcome.measurement.place for outcome in mine):
        there = [outcome for outcome in mine if outcome.measurement.place == place]
        for contender in _in_order(outcome.measurement.contender for outcome in there):
            rows.append(_row(place, contender, there, workload, rounds))
    title = f"### {table} (median of {rounds} [lowest..highest])" if rounds > 1 else f"### {table}"
    return "\n".join([f"{title}\n\n{_markdown(rows)}", *_absences(workload)])


def describe_settings(outcomes: Sequence[Outcome]) -> list[str]:
    """Return lines about the versions and the databases that the numbers stand for."""
    lines: dict[str, None] = {}  # a set that keeps its order
    for outcome in outcomes:
        if outcome.numbers:
            side = outcome.measurement.contender.side
            lines[f"{side}: {outcome.versions}"] = None
    for outcome in outcomes:
        if outcome.numbers:
            place = outcome.measurement.place
            # Only on SQLite may each side have a configuration of its own.
            whose = f" ({outcome.measurement.contender.side})" if _is_sqlite(place) else ""
            lines[f"{place}{whose}: {outcome.database}"] = None
    return list(lines)


def describe_problems(outcomes: Sequence[Outcome]) -> list[str]:
    """Return a line for each measurement that failed."""
    return [
        f"Failed: {outcome.measurement.contender} on {outcome.measurement.place}, "
        f"round {outcome.measurement.round + 1}: {outcome.problem}"
        for outcome in outcomes
        if outcome.problem
    ]


def _row(
    place: Place,
    contender: Contender,
    there: Sequence[Outcome],
    workload: Workload,
    rounds: int,
) -> list[str]:
    measured = [o for o in there if o.measurement.contender == contender and o.numbers]
    first, *others = (
        _spread([o.numbers[column.key] for o in measured if column.key in o.numbers], column.digits)
        for column in (*workload.columns, PEAK_RSS)
    )
    ratio = _spread(_ratios(measured, there, workload), 1)
    # A median of fewer rounds than the title says must not pass for one of all.
    made = "" if len(measured) == rounds else f" ({len(measured)} of {rounds})"
    return [str(place), f"{contender}{made}", first, ratio, *others]


def _ratios(mine: Sequence[Outcome], there: Sequence[Outcome], workload: Workload) -> list[float]:
    """Return how many times as good as the reference, in each round that both have."""
    key = workload.columns[0].key
    reference = {
        outcome.measurement.round: outcome.numbers[key]
        for outcome in there
        if outcome.measurement.contender == workload.reference and outcome.numbers.get(key)
    }
    pairs = [
        (outcome.numbers[key], reference[outcome.measurement.round])
        for outcome in mine
        if outcome.measurement.round in reference and outcome.numbers.get(key)
    ]
    return [theirs / own if workload.less_is_better else own / theirs for own, theirs in pairs]


def _absences(workload: Workload) -> list[str]:
    """Return a line for each side that is not in the table, or only on some databases."""
    lines = [f"- {side} is not here: {reason}" for side, reason in workload.absent.items()]
    for side in sorted(workload.sides):
        if left_out := set(workload.vendors) - set(SIDES[side].vendors):
            lines.append(f"- {side} cannot use {' or '.join(sorted(left_out))}.")
    return ["", *lines] if lines else []


def _spread(values: Sequence[float], digits: int) -> str:
    if not values:
        return "-"
    texts = [f"{v:,.{digits}f}" for v in (statistics.median(values), min(values), max(values))]
    middle, lowest, highest = texts
    return middle if lowest == highest else f"{middle} [{lowest}..{highest}]"


def _markdown(rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    # Words are read from the left, numbers from the right.
    lines = [
        [
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
    rule = ["-" * w if i < 2 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def _is_sqlite(place: Place) -> bool:
    return place.database.vendor == "sqlite"


def _in_order(things: Iterable[Thing]) -> list[Thing]:
    """Return each of them once, in the order in which they came first."""
    return list(dict.fromkeys(things))
