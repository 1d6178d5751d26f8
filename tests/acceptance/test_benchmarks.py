"""The benchmarks as somebody runs them: a command, a table, a line for each measurement."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_quick_benchmark_runs_and_records_every_job_once(tmp_path: Path) -> None:
    """Coroutines and plain functions both lose no run and repeat none, and the table says so."""
    output = tmp_path / "measurements.jsonl"
    arguments = ["--quick", "--ours-only", "--databases", "sqlite", "--workloads", "w1"]

    done = subprocess.run(
        [sys.executable, "tests/benchmarks/run", *arguments, "--output", str(output)],
        cwd=ROOT,
        text=True,
        capture_output=True,
    )

    assert done.returncode == 0, done.stderr
    measured = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["variant"] for line in measured] == ["coroutines", "plain functions"]
    for line in measured:
        counts = {key: line["numbers"][key] for key in ("recorded", "missed", "duplicates")}
        assert counts == {"recorded": 1000, "missed": 0, "duplicates": 0}
        assert f"| ours, {line['variant']} " in done.stdout


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_quick_benchmark_of_the_other_workloads_finds_every_run(tmp_path: Path) -> None:
    """Each workload ends with its numbers, and what it counts is complete."""
    output = tmp_path / "measurements.jsonl"
    workloads = ("w2", "w4", "w5", "w7", "w9", "w10", "w11", "w12")
    arguments = ["--quick", "--ours-only", "--databases", "sqlite"]

    done = subprocess.run(
        [
            *(sys.executable, "tests/benchmarks/run", *arguments),
            *("--workloads", ",".join(workloads), "--output", str(output)),
        ],
        cwd=ROOT,
        text=True,
        capture_output=True,
    )

    assert done.returncode == 0, done.stderr
    measured = [json.loads(line) for line in output.read_text().splitlines()]
    assert {line["workload"] for line in measured} == set(workloads)
    by_workload = {line["workload"]: line["numbers"] for line in measured}
    assert (by_workload["w5"]["ended"], by_workload["w5"]["duplicates"]) == (100, 0)
    assert by_workload["w9"]["begun"] == 5
    assert by_workload["w11"]["begun"] == 10
    assert by_workload["w12"]["runs"] >= 50  # each of its jobs, once at least
    assert min(by_workload["w10"].values()) > 0
