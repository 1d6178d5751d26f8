"""What a fault is, and what came of injecting it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from tests.databases import VENDORS, Vendor

if TYPE_CHECKING:
    from tests.acceptance.faults.stage import Stage


@dataclass(slots=True)
class Outcome:
    """What the ledger says after one round, and which promises did not hold."""

    due: int = 0
    lost: int = 0
    """Fires that neither started nor have a row that says why."""

    doubled: int = 0
    """Starts beyond the first, of jobs that had not allowed to be repeated."""

    unaccounted: int = 0
    """Starts without a row, and rows of success without a start."""

    recovery: float | None = None
    """Seconds until all was well again; None where nothing had to recover."""

    broken: list[str] = field(default_factory=list)
    """The promises that did not hold, in words."""

    seen: list[str] = field(default_factory=list)
    """Figures worth a look."""

    def expect(self, holds: object, otherwise: str) -> None:
        """Note a broken promise unless it holds."""
        if not holds:
            self.broken.append(otherwise)

    def add(self, other: Outcome) -> None:
        """Add another round, or another part of this one; the slowest recovery counts."""
        self.due += other.due
        self.lost += other.lost
        self.doubled += other.doubled
        self.unaccounted += other.unaccounted
        known = [seconds for seconds in (self.recovery, other.recovery) if seconds is not None]
        self.recovery = max(known, default=None)
        self.broken += other.broken
        self.seen += other.seen

    @property
    def all_broken(self) -> list[str]:
        """The promises that did not hold, with what the counts say."""
        counts = (
            (self.lost, "lost without a word"),
            (self.doubled, "run twice"),
            (self.unaccounted, "in the ledger or in the tables, but not in both"),
        )
        return [f"{number} {words}" for number, words in counts if number] + self.broken


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong, and how it is made to go wrong here."""

    name: str
    title: str
    """What happens, for the table."""

    injection: str
    """How it is injected, for the table."""

    play: str
    """`module:function` in this package; it is called with a Stage and returns an Outcome."""

    spoil: str
    """The disturbance with which this fault must break a promise (see disturbances.py), or `jobs`
    where the scenario spoils its own jobs."""

    vendors: tuple[Vendor, ...] = VENDORS
    own_server: bool = False
    """True if it needs a database server of its own, which nobody else is using."""

    why_not: Callable[[], str] = lambda: ""
    """Returns why it cannot be injected on this machine, or nothing if it can."""

    long_only: bool = False
    """True if it takes many minutes."""

    rounds: int = 3
    """How often the long form plays it."""

    def load(self) -> Callable[[Stage], Outcome]:
        """Return the function behind `play`; Django must be set up."""
        module, _, name = self.play.partition(":")
        found: Callable[[Stage], Outcome]
        found = getattr(import_module(f"tests.acceptance.faults.{module}"), name)
        return found
