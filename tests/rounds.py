"""Run pytest once for each database and say at the end what ran where.

`tests/run` calls this in the environment that it prepares; in an environment of your own, call
`python -m tests.rounds` with the same arguments. The first round runs everything; the later ones
leave out what does not depend on the database (`tests/unit`, and tests marked `once`).
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.databases import VENDORS, Database, NotReachableError, Vendor, opened, url_variable

ROOT = Path(__file__).resolve().parent.parent
NO_TESTS_COLLECTED = 5
"""pytest's exit code when the arguments select no test; in one round that is no failure."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one round."""

    title: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    problem: str = ""
    """Why there are no numbers; empty when there are."""

    ok: bool = True

    def __str__(self) -> str:
        if self.problem:
            return f"{self.title}: {self.problem}"
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.title}: {self.passed} passed{failed}, {self.skipped} skipped"


def main() -> int:
    options, pytest_arguments = _arguments()
    # A stop request must reach the clean-up below: a server started here would outlive the run.
    for request in (signal.SIGINT, signal.SIGTERM):
        signal.signal(request, lambda number, _: sys.exit(128 + number))
    os.environ["TEST_RUN_ID"] = f"{os.getpid()}_{secrets.token_hex(3)}"
    with tempfile.TemporaryDirectory(prefix="async_apscheduler_") as directory:
        os.environ["TEST_DIRECTORY"] = directory
        os.environ["COVERAGE_FILE"] = str(Path(directory, "coverage"))
        results: list[Result] = []
        for vendor in options.databases:
            wanted = options.named or bool(os.environ.get(url_variable(vendor)))
            is_first = all(result.problem for result in results)
            results.append(_round(vendor, pytest_arguments, is_first=is_first, is_wanted=wanted))
        coverage = _combine_coverage(Path(directory))
    return _report(results, coverage)


def _arguments() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="tests/run",
        description="Run the tests on every database found here.",
        epilog="All other arguments go to pytest, for example a path or -k WORDS.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--databases",
        type=_vendors,
        metavar="NAME,NAME",
        help=f"only these of {', '.join(VENDORS)}; one that is not reachable is then a failure",
    )
    options, pytest_arguments = parser.parse_known_args()
    options.named = options.databases is not None
    options.databases = options.databases or VENDORS
    return options, pytest_arguments


def _vendors(text: str) -> list[Vendor]:
    chosen = text.split(",")
    if unknown := set(chosen) - set(VENDORS):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return [vendor for vendor in VENDORS if vendor in chosen]


def _round(vendor: Vendor, arguments: Sequence[str], *, is_first: bool, is_wanted: bool) -> Result:
    try:
        with opened(vendor) as database:
            return _run_pytest(database, arguments, is_first=is_first)
    except NotReachableError as error:
        problem = f"not reachable ({error})"
        return Result(vendor, failed=int(is_wanted), problem=problem, ok=not is_wanted)


def _run_pytest(database: Database, arguments: Sequence[str], *, is_first: bool) -> Result:
    print(f"\n=== {database} ===", flush=True)
    tally = Path(os.environ["TEST_DIRECTORY"], "tally.json")
    tally.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "TEST_DATABASE": database.vendor,
        "TEST_TALLY": str(tally),
        "TEST_ROUND": "first" if is_first else "later",
    }
    if database.url:
        environment[url_variable(database.vendor)] = database.url
    command = [sys.executable, "-m", "coverage", "run", "-m", "pytest", *arguments]
    with _started(command, environment) as pytest:
        code = pytest.wait()
    if not tally.exists():
        problem = f"pytest broke off with exit code {code}"
        return Result(str(database), failed=1, problem=problem, ok=False)
    counts = json.loads(tally.read_text())
    return Result(str(database), **counts, ok=code in (0, NO_TESTS_COLLECTED))


@contextmanager
def _started(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start the command; whatever interrupts us also stops it, with time to drop its databases."""
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _combine_coverage(directory: Path) -> str:
    """Add up what all rounds and their child processes measured; return the total in words."""
    coverage = [sys.executable, "-m", "coverage"]
    combined = subprocess.run([*coverage, "combine", "--quiet", str(directory)], cwd=ROOT)
    if combined.returncode:
        return "not measured"
    shutil.copy(os.environ["COVERAGE_FILE"], ROOT / ".coverage")
    report = subprocess.run(
        [*coverage, "report", "--format=total"], cwd=ROOT, text=True, capture_output=True
    )
    return f"{report.stdout.strip()} % (details: coverage report)"


def _report(results: Sequence[Result], coverage: str) -> int:
    passed, failed, skipped = (
        sum(getattr(result, word) for result in results) for word in ("passed", "failed", "skipped")
    )
    print(f"\nCoverage: {coverage}")
    for result in results:
        print(result)
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 0 if passed and all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
