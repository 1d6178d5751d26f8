"""The arguments of a job: names in errors, size, and what a row may hold."""

from __future__ import annotations

import json
import math
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest

from async_apscheduler.codec import (
    MAX_ARGUMENTS_BYTES,
    decode_arguments,
    encode_arguments,
    may_change,
)
from async_apscheduler.exceptions import MalformedValueError, UnserializableArgumentError


def test_arguments_come_back_as_they_were() -> None:
    """Positional ones as a tuple, named ones as a dict."""
    args, kwargs = (1, (2, 3), {"a"}), {"to": b"x", "$type": "a name like ours"}

    stored = json.loads(json.dumps(encode_arguments(args, kwargs)))

    assert decode_arguments(*stored) == (args, kwargs)


CONSTANTS = [
    *(
        None,
        True,
        7,
        2**70,
        1.5,
        math.inf,
        "text",
        "\0",
        b"bytes",
        Decimal("1.0"),
        uuid.UUID(int=1),
    ),
    *(datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1), time(12), timedelta(seconds=1)),
]


@pytest.mark.parametrize("value", CONSTANTS, ids=repr)
def test_what_no_run_can_change_may_be_shared(value: Any) -> None:
    """As most arguments are."""
    assert not may_change(*encode_arguments([1, value], {"key": value}))


@pytest.mark.parametrize("value", [[], {}, {1: 2}, {1}, ([],), frozenset([1])], ids=repr)
def test_what_holds_other_values_is_not_shared(value: Any) -> None:
    """Not even a tuple, in which something may be a list."""
    assert may_change(*encode_arguments([1, value], {}))
    assert may_change(*encode_arguments([], {"one": 1, "key": value}))


def test_what_is_pickled_is_not_shared() -> None:
    """Nobody knows what can be changed in it."""
    assert may_change(*encode_arguments([1 + 2j], {}, serializer="pickle"))


def test_plain_arguments_are_stored_as_they_are() -> None:
    """So that people can read and edit them."""
    assert encode_arguments([7, "a"], {"b": [True]}) == ([7, "a"], {"b": [True]})


@pytest.mark.parametrize(
    ("args", "kwargs", "names", "place"),
    [
        ([1, object()], {}, ["id", "user"], "argument 'user' is"),
        ([1, [object()]], {}, ["id", "user"], "argument 'user'[0] is"),
        ([1, object()], {}, ["id"], "args[1] is"),
        ([1, object()], {}, None, "args[1] is"),
        ([object()], {}, ["args[0]"], "args[0] is"),
        ([], {"user": object()}, None, "kwargs['user'] is"),
        ([], {"user": {"x": object()}}, ["id"], "kwargs['user']['x'] is"),
    ],
)
def test_a_refusal_names_the_argument(
    args: list[Any], kwargs: dict[str, Any], names: list[str] | None, place: str
) -> None:
    """By the name of its parameter where that is known."""
    with pytest.raises(UnserializableArgumentError) as caught:
        encode_arguments(args, kwargs, names=names)

    assert str(caught.value).startswith(place)


@pytest.mark.parametrize("name", [1, None, "a\0", "\ud800"])
def test_a_name_that_cannot_be_stored_is_refused(name: Any) -> None:
    """The names of kwargs are keys of a JSON object."""
    with pytest.raises(UnserializableArgumentError, match=r"The name .* in kwargs"):
        encode_arguments([], {name: 1})


@pytest.mark.parametrize("character", ["a", "ä", "\x01", '"'])
def test_a_mebibyte_of_text_is_carried(character: str) -> None:
    """Escapes make it longer in JSON, and it still fits."""
    text = character * (1024 * 1024)

    args, kwargs = encode_arguments([text], {})

    assert decode_arguments(args, kwargs) == ((text,), {})


def test_arguments_that_are_too_large_are_refused_with_size_limit_and_way_out() -> None:
    """Counted is the JSON of all of them together."""
    half = "a" * (MAX_ARGUMENTS_BYTES // 2)

    with pytest.raises(UnserializableArgumentError) as caught:
        encode_arguments([half], {"more": half})

    assert "take 8,388,628 bytes as JSON; at most 8,388,608 can be stored" in str(caught.value)
    assert "pass its primary key" in str(caught.value)


def test_the_limit_itself_is_allowed() -> None:
    """The limit counts to the byte."""
    text = "a" * (MAX_ARGUMENTS_BYTES - len(json.dumps([[""], {}])))

    encode_arguments([text], {})
    with pytest.raises(UnserializableArgumentError):
        encode_arguments([text + "a"], {})


@pytest.mark.parametrize(
    ("args", "kwargs"), [(None, {}), ({}, {}), ("ab", {}), ([], []), ([], None), ((), {})]
)
def test_stored_arguments_of_the_wrong_shape_are_refused(args: Any, kwargs: Any) -> None:
    """A row may have been edited by hand."""
    with pytest.raises(MalformedValueError, match="must be a list and a dict"):
        decode_arguments(args, kwargs)
