"""How many connections to the database a measurement has open, by looking again and again."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from django.db import connection

PERIOD = 0.05
"""Seconds between two looks."""

_QUESTIONS = {
    "postgresql": (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    ),
    "mysql": (
        "SELECT count(*) FROM information_schema.processlist"
        " WHERE db = DATABASE() AND id <> CONNECTION_ID()"
    ),
}


class ConnectionWatch:
    """Looks in a thread of its own, with a connection that it does not count."""

    def __init__(self) -> None:
        self.most = 0
        """The most that were seen at once."""

        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, name="connection watch")

    def __enter__(self) -> ConnectionWatch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        try:
            while not self._end.wait(PERIOD):
                self.most = max(self.most, _count())
        finally:
            connection.close()


def _count() -> int:
    if connection.vendor == "sqlite":
        return _open_files(str(connection.settings_dict["NAME"]))
    with connection.cursor() as cursor:
        cursor.execute(_QUESTIONS[connection.vendor])
        return int(cursor.fetchone()[0])


def _open_files(path: str) -> int:
    """Return how often this process has a file open; 0 where there is no /proc to say so."""
    count = 0
    with suppress(FileNotFoundError):  # not Linux
        for link in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                count += os.readlink(link) == path
    return count
