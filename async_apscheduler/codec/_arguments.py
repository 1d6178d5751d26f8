"""The arguments of a job as JSON, within a size that every database takes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from async_apscheduler.codec._decoding import Decoder
from async_apscheduler.codec._encoding import Encoder
from async_apscheduler.codec._tags import DECODERS, TYPE
from async_apscheduler.codec._text import storable
from async_apscheduler.conf import get_settings
from async_apscheduler.exceptions import MalformedValueError, UnserializableArgumentError

MAX_ARGUMENTS_BYTES = 8 * 1024 * 1024
"""Longest JSON of the arguments of one job: half of what MariaDB takes in one statement."""


def encode_value(value: Any, *, name: str, serializer: str | None = None) -> Any:
    """Return the JSON form of `value`, which errors call `name`.

    `serializer` is "json" or "pickle"; None takes the setting. Raises UnserializableArgumentError.
    """
    return Encoder(serializer or get_settings().serializer).encode(value, name)


def decode_value(data: Any, *, serializer: str | None = None) -> Any:
    """Return the value that encode_value() was given.

    Raises MalformedValueError if `data` is nothing that encode_value() returns, or is a pickle and
    `serializer` is not "pickle"; TamperedValueError if it is a pickle of somebody else.
    """
    return Decoder(serializer).decode(data)


def encode_arguments(
    args: Iterable[Any],
    kwargs: Mapping[str, Any],
    *,
    names: Sequence[str] | None = None,
    serializer: str | None = None,
) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of a job as a JSON list and a JSON dict.

    `names` are the parameters that the positional arguments go to, as far as they are known; errors
    use them. Raises UnserializableArgumentError for a value that cannot be stored, and for
    arguments of more than MAX_ARGUMENTS_BYTES.
    """
    encoder = Encoder(serializer or get_settings().serializer)
    positional = [
        encoder.encode(value, _called(index, names or ())) for index, value in enumerate(args)
    ]
    by_name = {
        _checked_name(name): encoder.encode(value, f"kwargs[{name!r}]")
        for name, value in kwargs.items()
    }
    size = len(json.dumps([positional, by_name]))
    if size > MAX_ARGUMENTS_BYTES:
        raise UnserializableArgumentError(
            f"The arguments of a job take {size:,} bytes as JSON; at most {MAX_ARGUMENTS_BYTES:,} "
            "can be stored. Store the data in a model or a file and pass its primary key or path "
            "instead."
        )
    return positional, by_name


def decode_arguments(
    args: Any, kwargs: Any, *, serializer: str | None = None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments that encode_arguments() was given. Raises what decode_value() raises."""
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise MalformedValueError(
            "The stored arguments must be a list and a dict, not "
            f"{type(args).__name__} and {type(kwargs).__name__}."
        )
    decoder = Decoder(serializer)
    return (
        tuple(decoder.decode(value) for value in args),
        {name: decoder.decode(value) for name, value in kwargs.items()},
    )


def may_change(args: Iterable[Any], kwargs: Mapping[str, Any]) -> bool:
    """Return True if a function could change arguments of this JSON form for its next call."""
    return not all(_is_constant(value) for value in chain(args, kwargs.values()))


def _is_constant(data: Any) -> bool:
    if isinstance(data, dict):
        return data.get(TYPE) in DECODERS
    return not isinstance(data, list)


def _called(index: int, names: Sequence[str]) -> str:
    if index < len(names) and names[index].isidentifier():
        return f"argument {names[index]!r}"
    return f"args[{index}]"


def _checked_name(name: Any) -> str:
    if type(name) is not str or not storable(name):
        raise UnserializableArgumentError(
            f"The name {name!r} in kwargs cannot be stored. Use a plain str without NUL and lone "
            "surrogates."
        )
    return name
