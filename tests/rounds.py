"""Run pytest once for each database and say at the end what ran where.

`tests/run` calls this in the environment that it prepares; in an environment of your own, call
`python -m tests.rounds` with the same arguments. The first round runs everything; the later ones
leave out what does not depend on the database (`tests/unit`, and tests marked `once`). All rounds
run at the same time where there are two processors: most tests wait for something.
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.arguments import names_of, positive
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
    with (
        tempfile.TemporaryDirectory(prefix="async_apscheduler_") as directory,
        ExitStack() as stack,
    ):
        os.environ["TEST_DIRECTORY"] = directory
        os.environ["COVERAGE_FILE"] = str(Path(directory, "coverage"))
        python = [sys.executable, *(["-m", "coverage", "run"] if options.coverage else [])]
        command = [*python, "-m", "pytest", *pytest_arguments]
        found = [_found(vendor, stack, is_named=options.named) for vendor in options.databases]
        databases = [database for database in found if isinstance(database, Database)]
        results = _run_rounds(databases, command, at_once=options.at_once)
        results += [result for result in found if isinstance(result, Result)]
        if options.coverage:
            print(f"\nCoverage: {_combine_coverage(Path(directory))}")
    return _report(results)


def _arguments() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="tests/run",
        description="Run the tests on every database found here.",
        epilog="All other arguments go to pytest, for example a path or -k WORDS.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--databases",
        type=names_of(VENDORS),
        metavar="NAME,NAME",
        help=f"only these of {', '.join(VENDORS)}; one that is not reachable is then a failure",
    )
    parser.add_argument(
        "--coverage",
        action="store_true",
        help="measure which lines are run, child processes included; takes twice as long",
    )
    parser.add_argument(
        "--at-once",
        type=positive,
        default=len(VENDORS) if (os.cpu_count() or 1) > 1 else 1,
        metavar="N",
        help="databases to test at the same time (default: %(default)s)",
    )
    options, pytest_arguments = parser.parse_known_args()
    options.named = options.databases is not None
    options.databases = options.databases or VENDORS
    return options, pytest_arguments


def _found(vendor: Vendor, stack: ExitStack, *, is_named: bool) -> Database | Result:
    """Return the database, open until the stack is closed, or the result that it is not there."""
    is_wanted = is_named or bool(os.environ.get(url_variable(vendor)))
    try:
        return stack.enter_context(opened(vendor))
    except NotReachableError as error:
        problem = f"not reachable ({error})"
        return Result(vendor, failed=int(is_wanted), problem=problem, ok=not is_wanted)


def _run_rounds(
    databases: Sequence[Database], command: Sequence[str], *, at_once: int
) -> list[Result]:
    """Run a round for each database; what later ones print is shown when its turn comes."""
    results = []
    with ThreadPoolExecutor(max_workers=at_once) as threads, _stopping_what_runs():
        rounds = [
            threads.submit(_run_pytest, database, command, is_first=database is databases[0])
            for database in databases
        ]
        for database, future in zip(databases, rounds, strict=True):
            results.append(future.result())
            if database is not databases[0]:
                print(_log_of(database).read_text(errors="replace"), end="", flush=True)
    return results


def _run_pytest(database: Database, command: Sequence[str], *, is_first: bool) -> Result:
    tally = Path(os.environ["TEST_DIRECTORY"], f"tally-{database.vendor}.json")
    environment = {
        **os.environ,
        "TEST_DATABASE": database.vendor,
        "TEST_TALLY": str(tally),
        "TEST_ROUND": "first" if is_first else "later",
    }
    if database.url:
        environment[url_variable(database.vendor)] = database.url
    with nullcontext(sys.stdout) if is_first else _log_of(database).open("w") as output:
        print(f"\n=== {database} ===", flush=True, file=output)
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        _running.append(process)
        code = process.wait()
    if not tally.exists():
        problem = f"pytest broke off with exit code {code}"
        return Result(str(database), failed=1, problem=problem, ok=False)
    counts = json.loads(tally.read_text())
    return Result(str(database), **counts, ok=code in (0, NO_TESTS_COLLECTED))


_running: list[subprocess.Popen[bytes]] = []


@contextmanager
def _stopping_what_runs() -> Iterator[None]:
    """Whatever interrupts us also stops the rounds, with time to drop their databases."""
    try:
        yield
    finally:
        left = [process for process in _running if process.poll() is None]
        for process in left:
            process.send_signal(signal.SIGINT)
        for process in left:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _log_of(database: Database) -> Path:
    return Path(os.environ["TEST_DIRECTORY"], f"output-{database.vendor}.txt")


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


def _report(results: Sequence[Result]) -> int:
    passed, failed, skipped = (
        sum(getattr(result, word) for result in results) for word in ("passed", "failed", "skipped")
    )
    print()
    for result in results:
        print(result)
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 0 if passed and all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
