"""The quick form of each fault, and the proof that a fault would be seen.

Each fault is played on one of its databases, so that all of them take minutes; with TEST_FAULTS=all
on every one. `tests/acceptance/run` plays them for longer, more often, and on all databases.
"""

from __future__ import annotations

import os

import pytest
from django.conf import settings

from tests.acceptance.faults.catalogue import FAULTS
from tests.acceptance.faults.fault import Fault, Outcome
from tests.acceptance.faults.playing import play

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

ALWAYS_THERE = ("sqlite", "postgresql")
"""The databases that the tests find on every machine."""

ON_EVERY_DATABASE = ("race", "kill")


def is_played_here(number: int, fault: Fault) -> bool:
    """Return True if this round's database is the one that the fault is played on."""
    if fault.long_only or settings.DATABASE_VENDOR not in fault.vendors:
        return False
    if os.environ.get("TEST_FAULTS") == "all" or fault.name in ON_EVERY_DATABASE:
        return True
    usual = [vendor for vendor in ALWAYS_THERE if vendor in fault.vendors]
    return usual[number % len(usual)] == settings.DATABASE_VENDOR


PLAYED = [fault for number, fault in enumerate(FAULTS.values()) if is_played_here(number, fault)]
PROVED = [FAULTS["freeze" if settings.DATABASE_VENDOR == "postgresql" else "race"]]
"""The others are proved by `tests/acceptance/run --prove`."""


def outcome_of(fault: Fault, *, is_proof: bool = False) -> Outcome:
    """Play a fault on this round's database; skip the test, with the reason, where that fails."""
    played = play(fault, settings.DATABASE_VENDOR, is_proof=is_proof)
    if played.skipped:
        pytest.skip(played.skipped)
    return played.outcome


@pytest.mark.parametrize("fault", PLAYED, ids=lambda fault: fault.name)
def test_the_promises_hold_under(fault: Fault) -> None:
    """Nothing due is lost without a word or run twice, and what the fault breaks comes back."""
    outcome = outcome_of(fault)

    assert outcome.broken == [], outcome.seen
    assert outcome.due > 0


@pytest.mark.parametrize("fault", PROVED, ids=lambda fault: fault.name)
def test_without_its_protection_a_scheduler_is_caught_by(fault: Fault) -> None:
    """The same fault breaks a promise once the scheduler is spoilt: the test can fail."""
    outcome = outcome_of(fault, is_proof=True)

    assert outcome.broken != []
    assert not outcome.broken[0].startswith("broke off"), outcome.broken
