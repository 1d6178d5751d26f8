"""Fail unless the wheel holds every file of the package, whatever its kind, and nothing else.

Templates, static files, migrations and `py.typed` are what a build forgets most easily; a missing
one is noticed only by those who installed the wheel.
"""

from __future__ import annotations

import sys
from pathlib import Path
from zipfile import ZipFile

PACKAGE = Path("async_apscheduler")
SURELY_THERE = {
    f"{PACKAGE}/__init__.py",
    f"{PACKAGE}/py.typed",
    f"{PACKAGE}/migrations/0001_initial.py",
}


def main(wheel: str) -> None:
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    in_checkout = {
        path.as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    complaints = [
        *(
            f"missing in the wheel: {name}"
            for name in sorted((in_checkout | SURELY_THERE) - packed)
        ),
        *(f"should not be in the wheel: {name}" for name in sorted(packed - in_checkout)),
    ]
    if complaints:
        sys.exit("\n".join(complaints))
    print(f"{Path(wheel).name}: all {len(packed)} files of {PACKAGE} are in it")


if __name__ == "__main__":
    main(sys.argv[1])
