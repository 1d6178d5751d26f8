"""Child processes of acceptance tests: real schedulers, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support import wait_until

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """A `manage.py` command in a process of its own, with its output in a file.

    Another `module` is run instead, as by `python -m`.
    """

    def __init__(
        self,
        output: Path,
        *command: str,
        folder: Path = ROOT,
        module: str = "django",
        **environment: str,
    ) -> None:
        self._output = output
        with output.open("wb") as file:
            self._child = subprocess.Popen(
                [sys.executable, "-m", module, *command],
                cwd=folder,
                env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", **environment},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that a signal for a group is not for the tests
            )

    @property
    def output(self) -> str:
        """What the process has printed so far."""
        return self._output.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    def wait_for_output(self, text: str, timeout: float = 20) -> None:
        """Wait until the process has printed `text`; fail if it ends before."""
        wait_until(lambda: text in self.output or self._child.poll() is not None, timeout)
        assert text in self.output, self.output

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._child.send_signal(number)

    def send_to_group(self, number: signal.Signals) -> None:
        """Send a signal to the process and its children, as Ctrl-C on a terminal does."""
        os.killpg(self.pid, number)

    def wait(self, timeout: float = 20) -> int:
        """Wait for the end and return the exit code."""
        return self._child.wait(timeout)

    def end(self) -> None:
        """Kill the process if it still runs."""
        with suppress(ProcessLookupError):  # all of them have ended
            self.send_to_group(signal.SIGKILL)
        self._child.wait(10)


@contextmanager
def running(
    output: Path, *command: str, folder: Path = ROOT, module: str = "django", **environment: str
) -> Iterator[Process]:
    """Run a command, and kill it at the end if it has not ended."""
    process = Process(output, *command, folder=folder, module=module, **environment)
    try:
        yield process
    finally:
        process.end()
