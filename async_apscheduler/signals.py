"""Signals: what happens in a scheduler, for receivers of this package and of its users.

All are sent with ``send_robust`` in the process where the thing happens. Those of a scheduler are
sent on its event loop: a receiver must be a short, synchronous function without database access.
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

work_failed = Signal()
"""A part of the scheduler failed. Arguments: `part`, `error`, `retry_in` (seconds, or None)."""

work_resumed = Signal()
"""A part of the scheduler that had failed works again. Arguments: `part`."""
