"""Play one fault once, in a process of its own, and bring back what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from tests.acceptance.faults.catalogue import FAULTS
from tests.acceptance.faults.fault import Fault, Outcome
from tests.databases import Vendor, url_variable

ROOT = Path(__file__).resolve().parents[3]
QUICK_LIMIT = 180.0
LONG_LIMIT = 3600.0
"""Seconds after which a round counts as broken."""

GRACE = 30.0
"""Seconds for a round to clean up after it was told to stop."""


@dataclass(slots=True)
class Played:
    """One round of a fault on one database."""

    fault: Fault
    vendor: Vendor
    outcome: Outcome = field(default_factory=Outcome)
    skipped: str = ""
    """Why it could not be played; empty if it was."""


def kept_line(played: Played, number: int) -> str:
    """Return a round as a JSON line, which played_before() reads."""
    line = {"fault": played.fault.name, "database": played.vendor, "round": number}
    return json.dumps({**line, "skipped": played.skipped, **asdict(played.outcome)})


def played_before(line: str) -> Played:
    """Return what a line of kept_line() says."""
    said = json.loads(line)
    outcome = Outcome(**{each.name: said[each.name] for each in fields(Outcome)})
    return Played(FAULTS[said["fault"]], said["database"], outcome, said["skipped"])


def play(
    fault: Fault, vendor: Vendor, *, url: str = "", is_long: bool = False, is_proof: bool = False
) -> Played:
    """Play it once; `url` is the address of the server, if it is not the usual one."""
    if reason := fault.why_not():
        return Played(fault, vendor, skipped=reason)
    environment = {**os.environ, "TEST_DATABASE": vendor}
    if url:
        environment[url_variable(vendor)] = url
    forms = [option for option, on in (("--long", is_long), ("--prove", is_proof)) if on]
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.acceptance.faults.inject", fault.name, *forms],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    limit = LONG_LIMIT if is_long else QUICK_LIMIT
    try:
        said, complained = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        _stop(child)
        return Played(fault, vendor, Outcome(broken=[f"not finished within {limit:g} s"]))
    except BaseException:
        _stop(child)
        raise
    if child.returncode:
        last = (complained.strip() or "no output").splitlines()[-1]
        return Played(fault, vendor, Outcome(broken=[f"broke off: {last}"]))
    return _played(fault, vendor, json.loads(said.splitlines()[-1]))


def _played(fault: Fault, vendor: Vendor, answer: dict[str, object]) -> Played:
    if "skipped" in answer:
        return Played(fault, vendor, skipped=str(answer["skipped"]))
    return Played(fault, vendor, Outcome(**answer))  # type: ignore[arg-type]  # as inject.py wrote it


def _stop(child: subprocess.Popen[str]) -> None:
    """Stop a round, with time to end its schedulers and servers."""
    child.terminate()
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
