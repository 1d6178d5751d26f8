"""Texts that every database can store."""

from __future__ import annotations

import re

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_LONGEST_ESCAPE = len(r"\ud800")


def storable(text: str) -> bool:
    """Return True unless `text` holds a NUL or half of a surrogate pair.

    PostgreSQL refuses the first, and UTF-8 has no form for the second.
    """
    return "\0" not in text and (text.isascii() or _UNSTORABLE.search(text) is None)


def safe_text(text: str, limit: int) -> str:
    """Return `text` so that every database can store it in `limit` characters.

    NUL and lone surrogates become backslash escapes. A longer text is cut and ends with a note of
    how many characters of it are missing; a limit too short for the note cuts without.
    """
    shown = _escaped(text[:limit])
    if len(text) <= limit and len(shown) <= limit:
        return shown
    room = limit - len(_note(len(text)))
    if room <= 0:
        return shown[:limit]
    head = text[:room]
    while (excess := len(_escaped(head)) - room) > 0:
        head = head[: -max(1, excess // _LONGEST_ESCAPE)]
    return _escaped(head) + _note(len(text) - len(head))


def _escaped(text: str) -> str:
    return text if storable(text) else _UNSTORABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\u{code:04x}" if code else r"\x00"


def _note(missing: int) -> str:
    return f"… [{missing} more characters]"
