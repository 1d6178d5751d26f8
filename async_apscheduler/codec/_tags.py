"""The ``{"$type": ..., "value": ...}`` forms of values that hold no other values."""

from __future__ import annotations

import base64
import math
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import quote, unquote_to_bytes
from zoneinfo import ZoneInfo

from django.utils.dateparse import parse_duration
from django.utils.duration import duration_iso_string

from async_apscheduler.codec._text import storable

TYPE = "$type"
"""The key that marks a form of ours; a dict of the user's that has it is stored as pairs."""

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1
"""What every database keeps as an integer; some turn a longer one into a float."""

Moment = TypeVar("Moment", datetime, time)


class NotExactError(Exception):
    """A value has no form that would restore it exactly; the text says why."""


def tagged(tag: str, value: Any, **more: Any) -> dict[str, Any]:
    """Return the form of a value."""
    return {TYPE: tag, "value": value, **more}


def encode_integer(value: int) -> Any:
    """Return the form of an int. Hexadecimal, as Python limits the digits of decimal ones."""
    return value if MIN_INTEGER <= value <= MAX_INTEGER else tagged("int", hex(value))


def encode_float(value: float) -> Any:
    """Return the form of a float.

    Numbers of PostgreSQL's jsonb are decimal: they have no negative zero, and one with a positive
    exponent comes back as an integer.
    """
    text = repr(value)
    plain = math.isfinite(value) and "e+" not in text and text != "-0.0"
    return value if plain else tagged("float", text)


def encode_string(value: str) -> Any:
    """Return the form of a str; what no database can store is percent-encoded."""
    return value if storable(value) else tagged("str", quote(value, errors="surrogatepass"))


def _encode_moment(tag: str, value: datetime | time) -> dict[str, Any]:
    more: dict[str, Any] = {"fold": 1} if value.fold else {}
    zone = value.tzinfo
    if type(zone) is ZoneInfo:
        return tagged(tag, value.replace(tzinfo=None).isoformat(), zone=_key_of(zone), **more)
    if type(zone) is timezone:
        name = zone.tzname(None)
        if name != timezone(zone.utcoffset(None)).tzname(None):
            more["tzname"] = encode_string(name)
    elif zone is not None:
        raise NotExactError(
            f"its time zone is a {type(zone).__module__}.{type(zone).__qualname__}, of which the "
            "name is not known; use a ZoneInfo or datetime.timezone"
        )
    return tagged(tag, value.isoformat(), **more)


def _key_of(zone: ZoneInfo) -> str:
    try:
        ZoneInfo(zone.key)
    except (LookupError, TypeError, ValueError, OSError):
        raise NotExactError("its time zone was read from a file and has no name") from None
    return zone.key


LEAVES: dict[type, Callable[[Any], dict[str, Any]]] = {
    datetime: lambda value: _encode_moment("datetime", value),
    date: lambda value: tagged("date", value.isoformat()),
    time: lambda value: _encode_moment("time", value),
    timedelta: lambda value: tagged("timedelta", duration_iso_string(value)),
    Decimal: lambda value: tagged("decimal", str(value)),
    uuid.UUID: lambda value: tagged("uuid", str(value)),
    bytes: lambda value: tagged("bytes", base64.b64encode(value).decode("ascii")),
}
"""Types, exactly these and no subclass, with the function that writes their form."""


def _text(data: Mapping[str, Any]) -> str:
    value = data["value"]
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {type(value).__name__}")
    return value


def _decode_string(data: Mapping[str, Any]) -> str:
    return unquote_to_bytes(_text(data)).decode("utf-8", "surrogatepass")


def _decode_moment(kind: type[Moment], data: Mapping[str, Any]) -> Moment:
    moment = kind.fromisoformat(_text(data))
    zone = _zone_of(moment, data)
    return moment.replace(tzinfo=zone, fold=data.get("fold", 0))


def _zone_of(moment: datetime | time, data: Mapping[str, Any]) -> tzinfo | None:
    if "zone" in data:
        if moment.tzinfo is not None:
            raise ValueError("an offset and the name of a zone contradict each other")
        return ZoneInfo(data["zone"])
    if "tzname" in data:
        name, offset = data["tzname"], moment.utcoffset()
        if offset is None:
            raise ValueError("the offset is missing")
        return timezone(offset, name if isinstance(name, str) else _decode_string(name))
    return moment.tzinfo


def _decode_timedelta(data: Mapping[str, Any]) -> timedelta:
    duration = parse_duration(_text(data))
    if duration is None:
        raise ValueError("not a duration")
    return duration


DECODERS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "int": lambda data: int(_text(data), 16),
    "float": lambda data: float(_text(data)),
    "str": _decode_string,
    "datetime": lambda data: _decode_moment(datetime, data),
    "date": lambda data: date.fromisoformat(_text(data)),
    "time": lambda data: _decode_moment(time, data),
    "timedelta": _decode_timedelta,
    "decimal": lambda data: Decimal(_text(data)),
    "uuid": lambda data: uuid.UUID(_text(data)),
    "bytes": lambda data: base64.b64decode(_text(data), validate=True),
    "repr": _text,
}
"""The functions that read a form, by its type."""
