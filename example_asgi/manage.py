#!/usr/bin/env python
"""The example's management commands; `demo` starts everything."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Run the command that the arguments name."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_asgi.settings")
    # The folder of this file is the package itself, which must be found by its name.
    sys.path[0] = str(ROOT)
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
