"""The table for the README, and what has to be said below it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.acceptance.faults.fault import Fault, Outcome
from tests.acceptance.faults.playing import Played
from tests.databases import VENDORS, Vendor

TEXTS = 2
"""Columns that are read from the left: what happens, and how it is injected."""

COUNTS = ("rounds", "due", "lost", "doubled")
"""Columns that add up all databases."""


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
    """Return a line for each fault, in Markdown that can be read as it is."""
    vendors = [vendor for vendor in VENDORS if any(row.vendor == vendor for row in rows)]
    recovery = [f"recovery, s: {vendor}" for vendor in vendors]
    head = ["fault", "how", *COUNTS, *recovery, "fault seen" if is_proof else "kept"]
    by_fault: dict[str, list[Row]] = {}
    for row in rows:
        by_fault.setdefault(row.fault.name, []).append(row)
    cells = [head, *(_cells(of_one, vendors, is_proof=is_proof) for of_one in by_fault.values())]
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


def _cells(rows: Sequence[Row], vendors: Sequence[Vendor], *, is_proof: bool) -> list[str]:
    fault, totals = rows[0].fault, {row.vendor: row.total for row in rows}
    is_as_promised = all(bool(total.broken) == is_proof for total in totals.values())
    return [
        fault.title,
        f"{fault.injection}; spoilt: {fault.spoil}" if is_proof else fault.injection,
        str(sum(row.rounds for row in rows)),
        f"{sum(total.due for total in totals.values()):,}",
        str(sum(total.lost for total in totals.values())),
        str(sum(total.doubled for total in totals.values())),
        *(_recovery(totals.get(vendor)) for vendor in vendors),
        "yes" if is_as_promised else "NO",
    ]


def _recovery(total: Outcome | None) -> str:
    """Return the slowest in seconds; nothing where the fault was not played."""
    if total is None:
        return ""
    return "-" if total.recovery is None else f"{total.recovery:.1f}"


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
