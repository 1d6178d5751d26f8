"""From JSON to values. Whatever is wrong with the JSON, only errors of ours come out of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from async_apscheduler.codec._encoding import MAX_DEPTH
from async_apscheduler.codec._pickling import unpickled
from async_apscheduler.codec._tags import DECODERS, TYPE
from async_apscheduler.conf import SETTING, get_settings
from async_apscheduler.exceptions import MalformedValueError

_MAX_LEVELS = 3 * MAX_DEPTH + 3
"""As many levels as a value of MAX_DEPTH can have: a dict of pairs has three."""

_DAMAGE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,  # from the file of a time zone
    RecursionError,
    TypeError,
    ValueError,
)
"""What reading a damaged form raises."""


class Decoder:
    """Turns the JSON of Encoder back into values."""

    def __init__(self, serializer: str | None) -> None:
        self._serializer = serializer

    def decode(self, data: Any, level: int = 0) -> Any:
        """Return the value of `data`.

        Raises MalformedValueError, TamperedValueError.
        """
        if level > _MAX_LEVELS:
            raise MalformedValueError(f"A stored value is nested more than {_MAX_LEVELS} levels.")
        if isinstance(data, dict):
            return self._dict(data, level)
        if isinstance(data, list):
            return [self.decode(item, level + 1) for item in data]
        if data is None or isinstance(data, (bool, int, float, str)):
            return data
        raise MalformedValueError(f"A stored value is a {type(data).__name__}, which is not JSON.")

    def _dict(self, data: dict[str, Any], level: int) -> Any:
        if TYPE not in data:
            return {key: self.decode(value, level + 1) for key, value in data.items()}
        tag = data[TYPE]
        try:
            if isinstance(tag, str) and "value" in data:
                if tag in _CONTAINERS:
                    return _CONTAINERS[tag](self, data["value"], level + 1)
                if tag in DECODERS:
                    return DECODERS[tag](data)
        except MalformedValueError:
            raise
        except _DAMAGE as error:
            raise MalformedValueError(
                f"A stored value of type {tag!r} is damaged: {type(error).__name__}: "
                f"{str(error)[:200]}."
            ) from error
        known = ", ".join(sorted({*_CONTAINERS, *DECODERS}))
        raise MalformedValueError(
            f"A stored value has the unknown type {tag!r}, or no value. Known types are {known}."
        )

    def _items(self, values: Any, level: int) -> list[Any]:
        if not isinstance(values, list):
            raise TypeError(f"expected a list, got {type(values).__name__}")
        return [self.decode(value, level + 1) for value in values]

    def _pairs(self, pairs: Any, level: int) -> dict[Any, Any]:
        if not isinstance(pairs, list) or not all(isinstance(pair, list) for pair in pairs):
            raise TypeError("expected a list of pairs")
        return {self.decode(key, level + 2): self.decode(value, level + 2) for key, value in pairs}

    def _unpickle(self, value: Any) -> Any:
        if (self._serializer or get_settings().serializer) != "pickle":
            raise MalformedValueError(
                "A stored value is a pickle, and pickles are not loaded by default. Set "
                f"{SETTING}['SERIALIZER'] = 'pickle' if this project wrote it, or schedule the job "
                "anew with plain arguments."
            )
        return unpickled(value)


_CONTAINERS: dict[str, Callable[[Decoder, Any, int], Any]] = {
    "tuple": lambda decoder, value, level: tuple(decoder._items(value, level)),
    "set": lambda decoder, value, level: set(decoder._items(value, level)),
    "frozenset": lambda decoder, value, level: frozenset(decoder._items(value, level)),
    "dict": Decoder._pairs,
    "json": lambda decoder, value, level: decoder.decode(json.loads(value), level),
    "pickle": lambda decoder, value, level: decoder._unpickle(value),
}
"""The functions that read what holds other values; not in each decoder, which they would hold."""
