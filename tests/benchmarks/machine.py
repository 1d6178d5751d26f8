"""The machine that the numbers come from, in words."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent

FSYNCS = 100
TOO_FAST = 2e-5
"""Seconds; no disk keeps anything in less."""


def describe_machine() -> str:
    """Return processor, memory, system and Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} x {_processor()}, {memory:.0f} GiB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def describe_revision() -> str:
    """Return which state of this repository is measured; `dirty` is one with uncommitted edits."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, cwd=HERE, text=True, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git, or no repository
        return "unknown"
    return done.stdout.strip()


def describe_load() -> str:
    """Return how busy the machine was in the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def describe_disk() -> str:
    """Return how long the disk below SQLite's file takes to keep something."""
    seconds = _fsync_seconds()
    doubt = ""
    if seconds < TOO_FAST:
        doubt = " (this reaches no disk: point TMPDIR to one, or SQLite's numbers are too good)"
    return f"fsync of 4 KiB in {tempfile.gettempdir()}: {seconds * 1e6:.0f} µs{doubt}"


def _fsync_seconds() -> float:
    taken = []
    with tempfile.TemporaryFile() as file:
        for _ in range(FSYNCS):
            os.pwrite(file.fileno(), os.urandom(4096), 0)
            began = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
