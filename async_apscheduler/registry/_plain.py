"""What can be told to be the same without knowing what it means."""

from __future__ import annotations

import marshal
from typing import Any

FORMAT = 2
"""The last one of marshal that writes the same whoever else refers to the values."""


def plain_bytes(value: Any) -> bytes | None:
    """Return bytes that are the same for the same values, in any process of one Python version.

    Values that are equal but of different types, as 1 and True are, have different bytes. Returns
    None for anything but the types of Python's literals, in which other values may hide.
    """
    try:
        return marshal.dumps(value, FORMAT)
    except ValueError:
        return None
