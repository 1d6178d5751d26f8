"""`--reload`: a scheduler that starts again when its code changes, for development.

Django's reloader, but for signals: it ends its child at once, and a scheduler lets its runs end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from django.utils import autoreload

from async_apscheduler.engine.runner import Runner
from async_apscheduler.management.process import exit_despite_threads

CODE_CHANGED = 3
"""Exit code by which Django's reloader asks to be started again."""

RELOAD_PATIENCE = 5.0
"""Seconds that a scheduler may take to stop before its code is loaded again."""

SAME_REQUEST = 0.3
"""Seconds within which a second signal counts as the first one: a terminal sends Ctrl-C to parent
and child, and the parent passes its own on."""


def supervise() -> None:
    """Run this command in a child, again when its code changes; pass signals on to it."""
    child: subprocess.Popen[bytes] | None = None
    is_to_stop = False

    def pass_on(number: int, _frame: Any) -> None:
        nonlocal is_to_stop
        is_to_stop = True
        if child is not None:
            child.send_signal(number)

    _handle_signals(pass_on)
    environment = {**os.environ, autoreload.DJANGO_AUTORELOAD_ENV: "true"}
    code = CODE_CHANGED
    while code == CODE_CHANGED and not is_to_stop:
        child = subprocess.Popen(autoreload.get_child_arguments(), env=environment)
        if is_to_stop:  # it came in between
            child.terminate()
        code = child.wait()
    if is_to_stop and (code < 0 or code == CODE_CHANGED):  # it had not got as far as to drain
        code = 0
    sys.exit(code if code >= 0 else 128 - code)


def work(make: Callable[[], Runner], run: Callable[[Runner], None]) -> None:
    """Run what `make` returns by `run`, beside Django's reloader, which keeps the main thread.

    Ends the process: with CODE_CHANGED after a change, with 0 when it is told to stop.
    """
    child = _Child(make, run)
    autoreload.file_changed.connect(child.hurry)
    try:
        _handle_signals(child.stop)
        autoreload.start_django(autoreload.get_reloader(), child.work)
    except _Stopped:
        child.wait()


class _Child:
    """The process whose code may change."""

    def __init__(self, make: Callable[[], Runner], run: Callable[[Runner], None]) -> None:
        self._make = make
        self._run = run
        self._runner: Runner | None = None
        self._ended = threading.Event()
        self._told_at: float | None = None

    def work(self) -> None:
        """Run, in a thread of Django's reloader."""
        self._runner = self._make()
        try:
            self._run(self._runner)
        finally:
            self._ended.set()

    def stop(self, _number: int, _frame: Any) -> None:
        """Take a signal: the first lets the runs end, the second cancels them."""
        now, before = time.monotonic(), self._told_at
        if before is not None and now - before < SAME_REQUEST:
            return
        self._told_at = now
        if self._runner is not None:
            self._runner.stop_from_thread()
        if before is None:
            raise _Stopped

    def hurry(self, **_: Any) -> None:
        """Stop at once, because the code has changed."""
        if self._runner is not None:
            self._runner.stop_from_thread(hurry=True)
            self._ended.wait(RELOAD_PATIENCE)

    def wait(self) -> None:
        """Wait for the end of the runs, and end the process."""
        if self._runner is not None:
            self._ended.wait()
            exit_despite_threads(self._runner)
        sys.exit(0)


class _Stopped(BaseException):
    """Ends the reloader's loop."""


def _handle_signals(handle: Callable[[int, Any], None]) -> None:
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)
