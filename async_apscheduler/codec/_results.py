"""What a run returned, kept if that is possible, described if not."""

from __future__ import annotations

import json
import reprlib
from typing import Any

from async_apscheduler.codec._encoding import Encoder
from async_apscheduler.codec._tags import tagged
from async_apscheduler.codec._text import safe_text

_MAX_DESCRIPTION = 2000
"""Characters of a description: enough to recognise a value."""


def encode_result(value: Any, max_bytes: int) -> Any:
    """Return the JSON form of a return value if it has at most `max_bytes`, else its repr.

    The repr is shortened to fit as well. Never raises, whatever the value does.
    """
    data = None
    try:
        data = Encoder("json", max_bytes).encode(value, "the return value")
        fits = len(json.dumps(data)) <= max_bytes
    except Exception:  # refused, too large, or a container that another thread is changing
        fits = False
    return data if fits else tagged("repr", _description(value, max_bytes))


def _description(value: Any, max_bytes: int) -> str:
    limit = min(_MAX_DESCRIPTION, max_bytes)
    text = _short_repr(value, limit)
    shown = safe_text(text, limit)
    while limit > 1 and len(json.dumps(tagged("repr", shown))) > max_bytes:
        limit //= 2  # escapes make JSON longer than the text
        shown = safe_text(text, limit)
    return shown


def _short_repr(value: Any, limit: int) -> str:
    if type(value) in (bytes, bytearray):
        value = value[:limit]  # reprlib would first write all of it
    shortener = reprlib.Repr()
    shortener.maxlevel = 4
    shortener.maxlist = shortener.maxtuple = shortener.maxset = shortener.maxfrozenset = 20
    shortener.maxdict = shortener.maxdeque = shortener.maxarray = 20
    shortener.maxstring = shortener.maxother = limit
    try:
        return shortener.repr(value)
    except BaseException as error:  # the user's __repr__ must not end the scheduler, nor exit it
        return f"<{type(value).__qualname__}, whose repr raises {type(error).__name__}>"
