"""The processor time of a PostgreSQL server, all its processes together, where it can be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from django.db import connection

PROC = Path("/proc")


def server_cpu_seconds() -> float | None:
    """Return how long it has worked so far; None unless it is a Linux process on this machine."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = _stat(PROC / str(cursor.fetchone()[0]))
    if not backend or backend[0] != "postgres":
        return None
    server = backend[2]
    # A process that has ended has left its time with the server, its parent.
    ticks = sum(
        sum(map(int, found[12:16] if process.name == server else found[12:14]))
        for process, found in _processes()
        if server in (process.name, found[2])
    )
    return ticks / os.sysconf("SC_CLK_TCK")


def _processes() -> Iterator[tuple[Path, list[str]]]:
    for process in PROC.glob("[0-9]*"):
        if found := _stat(process):
            yield process, found


def _stat(process: Path) -> list[str]:
    """Return the name of a process, and what its `stat` says behind it; nothing if it is gone."""
    try:
        _, _, rest = (process / "stat").read_text().partition("(")
    except OSError:
        return []
    name, _, fields = rest.rpartition(") ")
    return [name, *fields.split()]
