"""What a workload says about itself; its folder holds a file for each side.

`w1/__init__.py` defines WORKLOAD, and `w1/ours.py` a function `measure(variant, **scale)` that
returns the numbers of one measurement by the keys of the workload's columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from tests.databases import VENDORS, Vendor

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Contender:
    """A row of the table: a side, in one of the ways that the workload can be put to it."""

    side: str
    variant: str

    vendors: tuple[Vendor, ...] = VENDORS
    """The databases that it is put to there, of those that the side can use."""

    up_to: int | None = None
    """The largest scale, by its first number, that it can be expected to end at."""

    when_quick: bool = True
    """False if --quick leaves it out."""

    def __str__(self) -> str:
        return f"{self.side}, {self.variant}"


@dataclass(frozen=True, slots=True)
class Column:
    """A number of the table."""

    key: str
    title: str
    digits: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is done, how much of it, by whom, and what is looked at."""

    title: str
    """One line; the keys of a scale in braces are filled in."""

    scales: tuple[Mapping[str, int], ...]
    """How much of it: keyword arguments of measure()."""

    quick_scales: tuple[Mapping[str, int], ...]
    """How much of it with --quick."""

    long_scales: tuple[Mapping[str, int], ...] = ()
    """What comes on top with --long."""

    contenders: tuple[Contender, ...]
    """In the order of the first round; every other round goes backwards."""

    reference: Contender
    """Whose first column the others' is compared with."""

    columns: tuple[Column, ...]
    """The first is what the ratio is taken of."""

    less_is_better: bool = False
    """What the first column counts is a cost."""

    vendors: tuple[Vendor, ...] = VENDORS
    """The databases that it makes sense on."""

    normal_durability: bool = True
    """False if the durability of a commit does not matter to it."""

    needs_admin: bool = False
    """Django's admin is installed, with what it needs."""

    absent: Mapping[str, str] = field(default_factory=dict)
    """Why sides that do not take part do not."""

    @property
    def sides(self) -> set[str]:
        """Names of the sides that take part."""
        return {contender.side for contender in self.contenders}


PEAK_RSS = Column("peak_rss", "peak RSS, MB")
"""Every measurement has it; see measure.py."""


def known_workloads() -> dict[str, Workload]:
    """Return all workloads by the name of their folder."""
    names = sorted(path.parent.name for path in HERE.glob("w*/__init__.py"))
    return {name: import_module(f"tests.benchmarks.{name}").WORKLOAD for name in names}
