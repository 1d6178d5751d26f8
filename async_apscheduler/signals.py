"""Signals: what happens in a scheduler, for receivers of this package and of its users.

All are sent with ``send_robust`` in the process where the thing happens. Those of a scheduler are
sent on its event loop or in one of its own threads: a receiver must be a short, synchronous
function without database access.
"""

from __future__ import annotations

from django.dispatch import Signal

run_started = Signal(use_caching=True)
"""A run begins on this node. Arguments: `run` (engine.runs.Run)."""

run_finished = Signal(use_caching=True)
"""A run ended on this node; its row is about to be written. Arguments: `run`."""

runs_skipped = Signal()
"""Fires of a job did not become runs. Arguments: `job_id`, `reason`, `fires` (how many)."""

job_quarantined = Signal()
"""A stored job could not be restored. Arguments: `job_id`, `error`."""

job_released = Signal()
"""A quarantined job can be restored again. Arguments: `job_id`."""

node_started = Signal()
"""This process joined as a node. Arguments: `node` (models.SchedulerNode)."""

node_stopped = Signal()
"""This node has left. Arguments: `node`."""

nodes_lost = Signal()
"""Nodes without a sign of life were declared lost. Arguments: `names`, `runs` (how many)."""

job_poisonous = Signal()
"""A job was set aside: its runs were lost with their processes too often. Arguments: `job_id`."""

clock_jumped = Signal()
"""The clock of the database has jumped. Arguments: `seconds`, negative if it was set back."""

clocks_differ = Signal()
"""The clocks of this machine and the database differ. Arguments: `seconds` that ours is ahead."""

loop_blocked = Signal()
"""The event loop does not go on. Sent by the watchdog's thread: at first when it has lasted for
BLOCKED_LOOP_THRESHOLD, again every ten seconds, and when it is over. Arguments: `job_id` (of the
run that blocks it, or None), `name` (of the task), `seconds` (until now), `stack` (a
traceback.StackSummary, outermost first), `is_over`."""

work_failed = Signal()
"""A part of the scheduler failed. Arguments: `part`, `error`, `retry_in` (seconds, or None)."""

work_resumed = Signal()
"""A part of the scheduler that had failed works again. Arguments: `part`."""
