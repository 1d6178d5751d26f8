"""Log what happens: the one subscriber of our signals that writes to the log.

Loggers are ``async_apscheduler.runs`` (each run), ``.jobs`` and ``.scheduler``. Text that comes
from outside is escaped and cut, so that one record stays one line.
"""

from __future__ import annotations

import logging
import time
import traceback
from typing import Any

from async_apscheduler import signals
from async_apscheduler.codec import safe_text
from async_apscheduler.masking import masked_text

runs = logging.getLogger("async_apscheduler.runs")
jobs = logging.getLogger("async_apscheduler.jobs")
scheduler = logging.getLogger("async_apscheduler.scheduler")

MAX_TEXT = 500
"""Characters of an id or a message in one log line."""

BLOCK_SAID_EVERY = 9.0
"""Seconds between two lines about one job that blocks the loop; the watchdog tells every ten."""

_said_at: dict[str, float] = {}


def connect() -> None:
    """Subscribe; called once, when Django is ready."""
    signals.run_finished.connect(_run_finished)
    signals.runs_skipped.connect(_runs_skipped)
    signals.job_quarantined.connect(_job_quarantined)
    signals.job_released.connect(_job_released)
    signals.nodes_lost.connect(_nodes_lost)
    signals.job_poisonous.connect(_job_poisonous)
    signals.clock_jumped.connect(_clock_jumped)
    signals.clocks_differ.connect(_clocks_differ)
    signals.loop_blocked.connect(_loop_blocked)
    signals.work_failed.connect(_work_failed)
    signals.work_resumed.connect(_work_resumed)


def _run_finished(run: Any, **_: Any) -> None:
    failed = run.status in ("failed", "timed_out")
    level = logging.WARNING if failed else logging.INFO
    if not runs.isEnabledFor(level):
        return
    runs.log(
        level,
        "%s %s in %.3f s, %s%s",
        _line(run.job.id),
        run.status.label,
        run.duration or 0.0,
        _circumstance(run),
        f": {_line(run.exception)}" if failed else "",
    )


def _circumstance(run: Any) -> str:
    """A retry is not late: it says which attempt it was."""
    attempt = run.context.attempt
    return f"{run.lateness:.3f} s late" if attempt == 1 else f"attempt {attempt}"


def _runs_skipped(job_id: str, reason: Any, fires: int, **_: Any) -> None:
    what = "a fire" if fires == 1 else f"{fires} fires"
    runs.warning("%s skipped %s: %s", _line(job_id), what, reason.label)


def _job_quarantined(job_id: str, error: Exception, **_: Any) -> None:
    if _not_said_lately(f"quarantined {job_id}"):
        jobs.error("Quarantined: %s", _line(str(error)))


def _job_released(job_id: str, **_: Any) -> None:
    jobs.info("Released from quarantine: %s", _line(job_id))


def _nodes_lost(names: list[str], runs: int, **_: Any) -> None:
    scheduler.warning("Lost: %s, with %d runs", _line(", ".join(names)), runs)


def _job_poisonous(job_id: str, **_: Any) -> None:
    jobs.error("Quarantined, because its runs were lost with their processes: %s", _line(job_id))


def _clock_jumped(seconds: float, **_: Any) -> None:
    scheduler.warning("The clock of the database has jumped by %+.1f s", seconds)


def _clocks_differ(seconds: float, **_: Any) -> None:
    if _not_said_lately("clocks differ", seconds=3600.0):
        scheduler.warning(
            "This machine's clock is %+.1f s from the database's, which counts for jobs", seconds
        )


def _loop_blocked(
    job_id: str | None,
    name: str,
    seconds: float,
    stack: traceback.StackSummary,
    is_over: bool,
    **_: Any,
) -> None:
    if not _not_said_lately(f"blocked {job_id or name} {is_over}", seconds=BLOCK_SAID_EVERY):
        return
    logger, who = (scheduler, name) if job_id is None else (runs, job_id)
    if is_over:
        logger.info("%s blocked the event loop for %.2f s", _line(who), seconds)
    else:
        where = _line(_place(stack))
        logger.warning(
            "%s blocks the event loop, for %.2f s so far, at %s", _line(who), seconds, where
        )


def _place(stack: traceback.StackSummary) -> str:
    """Return where it began and, if that is elsewhere, where it has come to."""
    ends = stack[:1] if len(stack) == 1 else [stack[0], stack[-1]]
    return " ... ".join(f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in ends)


def _work_failed(part: str, error: Exception, retry_in: float | None, **_: Any) -> None:
    if _not_said_lately("failed", seconds=1.0):  # whichever part: they mostly fail together
        text = _line(f"{type(error).__name__}: {error}")
        again = "" if retry_in is None else f" and tries again in {retry_in:.1f} s"
        scheduler.error("The %s failed%s: %s", part, again, text)
        in_full = "".join(traceback.format_exception(error))
        scheduler.debug("The error in full: %s", masked_text(in_full).splitlines())


def _work_resumed(part: str, **_: Any) -> None:
    scheduler.info("The %s works again", part)


def _not_said_lately(what: str, *, seconds: float = 60.0) -> bool:
    """Return True at most once in `seconds` for the same `what`."""
    now = time.monotonic()
    if len(_said_at) > 10_000:
        _said_at.clear()
    if now - _said_at.get(what, -seconds) < seconds:
        return False
    _said_at[what] = now
    return True


def _line(text: str) -> str:
    """Return `text` on one line, without secrets and control characters, not longer than useful."""
    text = masked_text(text)
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return safe_text(printable, MAX_TEXT)
