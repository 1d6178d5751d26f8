"""The table for the README, and what has to be said below it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.acceptance.faults.fault import Fault, Outcome
from tests.acceptance.faults.playing import Played
from tests.databases import Vendor

HEAD = ["fault", "how", "database", "rounds", "due", "lost", "doubled", "recovery, s", "kept"]
TEXTS = 3
"""Columns that are read from the left."""


@dataclass(slots=True)
class Row:
    """All rounds of a fault on one database, added up."""

    fault: Fault
    vendor: Vendor
    rounds: int
    total: Outcome


def rows_of(played: Iterable[Played]) -> list[Row]:
    """Add up the rounds; the order is that of the first round of each."""
    rows: dict[tuple[str, Vendor], Row] = {}
    for one in played:
        if one.skipped:
            continue
        row = rows.setdefault(
            (one.fault.name, one.vendor), Row(one.fault, one.vendor, 0, Outcome())
        )
        row.rounds += 1
        row.total.add(one.outcome)
    return list(rows.values())


def describe_table(rows: Sequence[Row], *, is_proof: bool) -> str:
    """Return the table, in Markdown that can be read as it is."""
    head = [*HEAD[:-1], "fault seen" if is_proof else "promises kept"]
    cells = [head, *(_cells(row, is_proof=is_proof) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    lines = [
        [
            cell.ljust(width) if i < TEXTS else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in cells
    ]
    rule = ["-" * w if i < TEXTS else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def _cells(row: Row, *, is_proof: bool) -> list[str]:
    total = row.total
    how = f"{row.fault.injection}; spoilt: {row.fault.spoil}" if is_proof else row.fault.injection
    return [
        row.fault.title,
        how,
        row.vendor,
        str(row.rounds),
        f"{total.due:,}",
        str(total.lost),
        str(total.doubled),
        "-" if total.recovery is None else f"{total.recovery:.1f}",
        "yes" if bool(total.broken) == is_proof else "NO",
    ]


def describe_broken(rows: Iterable[Row]) -> list[str]:
    """Return a line for each promise that did not hold."""
    return [
        f"{row.fault.name} on {row.vendor}: {text}" for row in rows for text in row.total.broken
    ]


def describe_seen(rows: Iterable[Row]) -> list[str]:
    """Return a line for each figure worth a look."""
    return [f"{row.fault.name} on {row.vendor}: {text}" for row in rows for text in row.total.seen]


def describe_skipped(played: Iterable[Played]) -> list[str]:
    """Return a line for each fault that could not be injected, with its reason."""
    lines = (f"{one.fault.name} on {one.vendor}: {one.skipped}" for one in played if one.skipped)
    return list(dict.fromkeys(lines))
