"""A scheduler under test: `manage.py runasyncscheduler` in a process of its own."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

from tests.acceptance.faults.waiting import until
from tests.acceptance.processes import Process
from tests.support import wait_until

UP_LIMIT = 30.0
"""Seconds that a scheduler may take to start, on a machine that is busy with others."""


class Node(Process):
    """One scheduler; `name` is the node's own name, too."""

    def __init__(self, name: str, output: Path, *command: str, **environment: Any) -> None:
        super().__init__(output, *command, "--name", name, **environment)
        self.name = name

    @property
    def is_alive(self) -> bool:
        """True while the process runs, even if it is stopped by a signal."""
        return self._child.poll() is None

    @property
    def lines(self) -> int:
        """How many lines it has printed so far."""
        return self.output.count("\n")

    def wait_until_up(self) -> None:
        """Wait until it says that it works; fail if it ends before."""
        wait_until(lambda: self.is_up or not self.is_alive, UP_LIMIT)
        assert self.is_up, self.output

    @property
    def is_up(self) -> bool:
        """True if it has joined as a node."""
        return f"{self.name} (#" in self.output

    def catches(self, number: signal.Signals) -> bool:
        """Return True once it deals with a signal itself; where only it knows that, at once."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except FileNotFoundError:
            return True
        (mask,) = re.findall(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)
        return bool(int(mask, 16) >> (number - 1) & 1)

    def kill(self) -> None:
        """Kill it, and wait until it is dead."""
        self.send(signal.SIGKILL)
        self.wait()

    def wait_for_end(self, limit: float) -> bool:
        """Return whether it ended within `limit` seconds."""
        return until(lambda: not self.is_alive, limit)
