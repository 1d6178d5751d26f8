"""What can be told to be the same without knowing what it means."""

from __future__ import annotations

import marshal
from typing import Any

FORMAT = 2
"""The last one of marshal that writes the same whoever else refers to the values."""

SINGLE = frozenset(map(type, (None, True, 0, 0.0, 0j, "", b"")))
SEVERAL = frozenset((tuple, list, set, frozenset))


def plain_bytes(value: Any) -> bytes | None:
    """Return bytes that are the same for the same values, in any process of one Python version.

    Values that are equal but of different types, as 1 and True are, have different bytes. Returns
    None for anything but the types of Python's literals, in which other values may hide.
    """
    try:
        written = marshal.dumps(value, FORMAT)
        # It writes a bytearray, an array and whatever else has a buffer as if it were bytes.
        return written if _is_plain(value) else None
    except (ValueError, RecursionError):
        return None


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind in SINGLE:
        return True
    if kind is dict:
        return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
    return kind in SEVERAL and all(map(_is_plain, value))
