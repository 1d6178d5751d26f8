"""Types of command line arguments that several of the commands here take.

Standard library alone: the commands read their options before they have an environment.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TypeVar

Name = TypeVar("Name", bound=str)


def names_of(known: Sequence[Name]) -> Callable[[str], list[Name]]:
    """Return a type for a list like ``a,b``: those of the known names, in their order."""

    def chosen(text: str) -> list[Name]:
        names = text.split(",")
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
        return [name for name in known if name in names]

    return chosen


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)
