"""w13 for all sides: the same process, twice."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module

from tests.benchmarks.environments import ROOT
from tests.benchmarks.project import settle
from tests.benchmarks.sides import Side


def measure(side: Side, variant: str, *, jobs: int) -> dict[str, float]:
    """Return the numbers of one measurement."""
    first = _start(side, jobs)
    settle()
    again = _start(side, jobs)
    return {
        "first": first["seconds"],
        "again": again["seconds"],
        "stored": import_module(f"{__package__}.start_{side.module}").count(),
        "peak_rss": again["peak_rss"],
    }


def _start(side: Side, jobs: int) -> dict[str, float]:
    started = subprocess.run(
        (sys.executable, "-m", f"{__package__}.starting", side.name, str(jobs)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return dict(json.loads(started.stdout.splitlines()[-1]))
