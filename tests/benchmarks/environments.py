"""A virtual environment for each side, so that no peer's requirements meet another's.

Standard library only: the entry script uses it before anything is installed. The folders lie beside
the project's own `.venv-tests` and are kept until what they were prepared for changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Environment:
    """The folder `.venv-benchmarks-<name>` with some packages in it."""

    name: str
    requirements: tuple[str, ...]
    """What pip installs, in its own words."""

    constraints: Path = ROOT / "constraints.txt"
    """Pins what they leave open."""

    @property
    def folder(self) -> Path:
        """Where it is."""
        return ROOT / f".venv-benchmarks-{self.name}"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def prepare(self) -> None:
        """Create it, unless it is there and made for just this. Exits with pip's words if not."""
        with _only_one_at_a_time():
            if not self._is_prepared():
                self._create()

    @property
    def _stamp(self) -> Path:
        return self.folder / "prepared-for"

    def _is_prepared(self) -> bool:
        return (
            self.python.exists()
            and self._stamp.exists()
            and self._stamp.read_text() == self._fingerprint()
        )

    def _fingerprint(self) -> str:
        """Return what it depends on; its scripts hold the absolute path, too."""
        inputs = hashlib.sha256(f"{ROOT}\n{sys.version}\n{self.requirements}\n".encode())
        inputs.update(self.constraints.read_bytes())
        if "--editable" in self.requirements:
            inputs.update((ROOT / "pyproject.toml").read_bytes())
        return inputs.hexdigest()

    def _create(self) -> None:
        print(f"Preparing {self.folder.name} with Python {sys.version.split()[0]} ...", flush=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        _quietly("create the environment", [sys.executable, "-m", "venv", str(self.folder)])
        pip_install = [str(self.python), "-m", "pip", "install", "--no-input"]
        # Wheels only, since building a source package may need a compiler.
        pip_install += ["--only-binary", ":all:", "--constraint", str(self.constraints)]
        _quietly("install the packages", [*pip_install, *self.requirements])
        self._stamp.write_text(self._fingerprint())


@contextmanager
def _only_one_at_a_time() -> Iterator[None]:
    """Hold a lock on the checkout, so that two runs started together prepare it once."""
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _quietly(purpose: str, command: list[str]) -> None:
    """Run the command and show what it printed only when it fails."""
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.exit(f"{done.stdout}\nCould not {purpose}; the lines above say why.")
