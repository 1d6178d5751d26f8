"""From values to JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from django.db.models import Model, QuerySet
from django.utils.functional import LazyObject, Promise

from async_apscheduler.codec._pickling import pickled
from async_apscheduler.codec._tags import (
    LEAVES,
    TYPE,
    NotExactError,
    encode_float,
    encode_integer,
    encode_string,
    tagged,
)
from async_apscheduler.codec._text import storable
from async_apscheduler.conf import SETTING
from async_apscheduler.exceptions import UnserializableArgumentError

MAX_DEPTH = 100
"""Values inside values; what is deeper usually contains itself."""

READABLE_LEVELS = 12
"""Levels of JSON after which the rest is stored as a text, since MariaDB reads no more than 31.

The rest of the 31 is room for what the value is stored in: a list of arguments, a trigger, a
record of what was changed.
"""

_PLAIN_TYPES = (str, int, float, dict, list, tuple, set, frozenset, bytes, *LEAVES)


class TooDeepError(UnserializableArgumentError):
    """A value is nested deeper than MAX_DEPTH."""


class TooLargeError(Exception):
    """The JSON of a value is longer than was asked for."""


class _Place(NamedTuple):
    """Where a value is, as a chain to the outermost one, so that no text is built in vain."""

    outer: _Place | None
    step: str | int
    depth: int

    def __str__(self) -> str:
        if self.outer is None:
            return str(self.step)
        if isinstance(self.step, _Words):
            return f"{self.step} of {self.outer}"
        step = repr(self.step)
        return f"{self.outer}[{step if len(step) <= 60 else step[:57] + '...'}]"


class _Words(str):
    """A step that has no index."""

    __slots__ = ()


def _place(outer: _Place | None, step: str | int) -> _Place:
    return _Place(outer, step, 0 if outer is None else outer.depth + 1)


_MEMBER, _KEY = _Words("a member"), _Words("a key")


class Encoder:
    """Turns values into JSON; `max_bytes` gives up early on what is surely longer."""

    def __init__(self, serializer: str, max_bytes: float = math.inf) -> None:
        self._serializer = serializer
        self._room = max_bytes

    def encode(self, value: Any, name: str) -> Any:
        """Return the JSON form of `value`, which errors call `name`.

        Raises UnserializableArgumentError, or TooLargeError if a size was given.
        """
        try:
            return self._encode(value, None, name, 0)
        except (TooDeepError, RecursionError):
            if self._serializer == "pickle":
                return self._other(value, _place(None, name))
            raise TooDeepError(
                f"{name} is nested more than {MAX_DEPTH} levels deep, or contains itself. Pass the "
                "parts that the job needs."
            ) from None

    def _encode(self, value: Any, outer: _Place | None, step: str | int, level: float) -> Any:
        kind = type(value)
        self._room -= len(value) + 2 if kind is str or kind is bytes else 2
        if self._room < 0:
            raise TooLargeError
        if value is None or kind is bool:
            return value
        if kind is str:
            return encode_string(value)
        if kind is int:
            return encode_integer(value)
        if kind is float:
            return encode_float(value)
        place = _place(outer, step)
        if kind in _CONTAINERS:
            return self._container(value, place, level)
        if kind in LEAVES:
            try:
                return LEAVES[kind](value)
            except NotExactError as error:
                return self._other(value, place, f"{error}.")
        return self._other(value, place)

    def _container(self, value: Any, place: _Place, level: float) -> Any:
        if place.depth >= MAX_DEPTH:
            raise TooDeepError
        write = _CONTAINERS[type(value)]
        if level < READABLE_LEVELS:
            return write(self, value, place, level)
        # A text in a text would double its backslashes each time; so there is but one.
        return tagged("json", json.dumps(write(self, value, place, -math.inf)))

    def _items(self, values: Any, place: _Place, level: float) -> list[Any]:
        return [self._encode(value, place, index, level) for index, value in enumerate(values)]

    def _members(self, values: Any, place: _Place, level: float) -> list[Any]:
        """Return the members of a set in an order of their own, not that of this process."""
        members = [self._encode(value, place, _MEMBER, level) for value in values]
        return sorted(members, key=lambda member: json.dumps(member, sort_keys=True))

    def _dict(self, values: dict[Any, Any], place: _Place, level: float) -> Any:
        if TYPE not in values and all(type(key) is str and storable(key) for key in values):
            return {
                key: self._encode(value, place, self._under(key), level + 1)
                for key, value in values.items()
            }
        pairs = [
            [
                self._encode(key, place, _KEY, level + 3),
                self._encode(value, place, self._under(key), level + 3),
            ]
            for key, value in values.items()
        ]
        return tagged("dict", pairs)

    def _under(self, key: Any) -> str | int:
        """Return the step to what a dict has under `key`."""
        if type(key) is str:
            self._room -= len(key)
            return key
        return key if type(key) is int else _Words(f"the value under a {type(key).__name__}")

    def _other(self, value: Any, place: _Place, reason: str = "") -> Any:
        if self._serializer != "pickle":
            raise UnserializableArgumentError(_refusal(value, place, reason))
        try:
            return tagged("pickle", pickled(value))
        except Exception as error:  # __reduce__ and __getstate__ are the user's code
            raise UnserializableArgumentError(
                f"{place} is of type {_name_of(type(value))}, which cannot be pickled "
                f"({type(error).__name__}). Pass a primary key or another plain value and look the "
                "object up in the job."
            ) from error


_CONTAINERS: dict[type, Callable[[Encoder, Any, _Place, float], Any]] = {
    list: lambda encoder, value, place, level: encoder._items(value, place, level + 1),
    tuple: lambda encoder, value, place, level: tagged(
        "tuple", encoder._items(value, place, level + 2)
    ),
    set: lambda encoder, value, place, level: tagged(
        "set", encoder._members(value, place, level + 2)
    ),
    frozenset: lambda encoder, value, place, level: tagged(
        "frozenset", encoder._members(value, place, level + 2)
    ),
    dict: Encoder._dict,
}
"""The functions that write what holds other values, by its type.

Not in each encoder, which they would hold: such a circle is there until the garbage is collected.
"""


def _name_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _refusal(value: Any, place: _Place, reason: str) -> str:
    # issubclass, not isinstance: the latter would make a lazy object do its query.
    kind = type(value)
    other = f"or set {SETTING}['SERIALIZER'] = 'pickle'."
    if reason:
        return f"{place} cannot be stored exactly: {reason}"
    if issubclass(kind, Promise):
        return f"{place} is a lazy text, which JSON cannot carry. Call str() on it, {other}"
    if issubclass(kind, Model):
        return (
            f"{place} is a model instance ({_name_of(kind)}), which JSON cannot carry. Pass its "
            f"primary key and fetch it in the job, {other}"
        )
    if issubclass(kind, QuerySet):
        return (
            f"{place} is a queryset, which JSON cannot carry. Pass a list of primary keys, or "
            f"build the query in the job, {other}"
        )
    if issubclass(kind, LazyObject):
        return (
            f"{place} is a lazy object ({_name_of(kind)}), which JSON cannot carry. If it stands "
            f"for a model instance, pass its primary key, {other}"
        )
    for plain in _PLAIN_TYPES:
        if issubclass(kind, plain):
            return (
                f"{place} is of type {_name_of(kind)}, a subclass of {plain.__name__} that would "
                f"come back as a plain {plain.__name__}. Convert it to one, {other}"
            )
    return (
        f"{place} is of type {_name_of(kind)}, which JSON cannot carry. Pass a primary key or "
        f"another plain value and look the object up in the job, convert it, {other}"
    )
