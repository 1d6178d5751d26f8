"""One fault in a process of its own, on a database of its own: prints one JSON line.

    python -m tests.acceptance.faults.inject race

plays it on the database that TEST_DATABASE names (default: SQLite); `--long` is the form for the
table, and `--prove` spoils the scheduler so that a promise must break.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import cast

import django
import pytest

from tests.acceptance.faults.catalogue import FAULTS
from tests.acceptance.faults.fault import Fault, Outcome
from tests.acceptance.faults.servers import own_server
from tests.databases import NotReachableError, Vendor, opened, url_variable

KEEP = "FAULTS_KEEP"
"""Names a folder in which the ledger and the schedulers' output stay, to be read afterwards."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.acceptance.faults.inject")
    parser.add_argument("fault", choices=FAULTS)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--prove", action="store_true")
    options = parser.parse_args()
    # A stop request must reach the clean-up: schedulers and servers would outlive this process.
    for request in (signal.SIGINT, signal.SIGTERM):
        signal.signal(request, lambda number, _: sys.exit(128 + number))
    vendor = cast(Vendor, os.environ.setdefault("TEST_DATABASE", "sqlite"))
    try:
        outcome = inject(
            FAULTS[options.fault], vendor, is_long=options.long, is_spoilt=options.prove
        )
        answer = {**asdict(outcome), "broken": outcome.all_broken}
    except NotReachableError as error:
        answer = {"skipped": str(error)}
    print(json.dumps(answer), flush=True)


def inject(fault: Fault, vendor: Vendor, *, is_long: bool, is_spoilt: bool) -> Outcome:
    """Play the fault once. Raises NotReachableError if there is no server to play it on."""
    # Our own even inside a test run, whose databases are not ours.
    os.environ["TEST_RUN_ID"] = f"fault_{secrets.token_hex(4)}"
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.acceptance.faults.settings"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="async_apscheduler_")))
        os.environ["TEST_DIRECTORY"] = str(folder)
        server = None
        if fault.own_server:
            (folder / "server").mkdir()
            folder.chmod(0o755)  # the server is somebody else
            server = stack.enter_context(own_server(vendor, folder / "server"))
            os.environ[url_variable(vendor)] = server.url
        stack.enter_context(opened(vendor))
        django.setup()
        from django.db import connection, connections

        from tests.acceptance.faults.stage import Stage

        connection.creation.create_test_db(verbosity=0, autoclobber=True)
        stack.callback(connections.close_all)
        kept = Path(os.environ[KEEP]) if KEEP in os.environ else folder
        stage = stack.enter_context(
            Stage(
                vendor,
                kept,
                is_long=is_long,
                spoil=fault.spoil if is_spoilt else "",
                server=server,
            )
        )
        return _played(fault, stage)


def _played(fault: Fault, stage: object) -> Outcome:
    """Play it; what makes the harness itself give up is a broken promise like any other."""
    try:
        return fault.load()(stage)  # type: ignore[arg-type]  # imported late, see above
    except (Exception, pytest.fail.Exception) as error:
        reason = str(error).strip() or repr(error)
        return Outcome(broken=[f"broke off: {type(error).__name__}: {reason[-500:]}"])


if __name__ == "__main__":
    main()
