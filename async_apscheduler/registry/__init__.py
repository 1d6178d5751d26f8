"""Declarations in code: ``@scheduled_job`` and ``@job``, collected as modules are imported.

Nothing here touches the database or needs the apps to be ready, so both decorators work in any
module at any time. When a scheduler starts, it imports every app's ``jobs.py`` and brings the rows
in line with what is declared.
"""

from __future__ import annotations

from async_apscheduler.registry._declarations import Declaration, Registry, registry
from async_apscheduler.registry._decorators import job, scheduled_job
from async_apscheduler.registry._options import UNSET, given
from async_apscheduler.registry._plain import plain_bytes

__all__ = [
    "UNSET",
    "Declaration",
    "Registry",
    "given",
    "job",
    "plain_bytes",
    "registry",
    "scheduled_job",
]
