"""What is kept of return values, and texts that every database takes."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from typing import Any

import pytest
from django.test import override_settings

from async_apscheduler.codec import decode_value, encode_result, safe_text


class Silent:
    """Its repr raises whatever it is told."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __repr__(self) -> str:
        raise self.error


class Wordy:
    """Its repr is long."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


@pytest.mark.parametrize("value", [None, 7, "done", [1, {"a": (2, date(2026, 1, 1))}]])
def test_a_return_value_that_json_carries_is_kept(value: Any) -> None:
    """It can be read back exactly."""
    assert decode_value(encode_result(value, 1000)) == value


def test_a_return_value_that_fits_exactly_is_kept() -> None:
    """The limit counts the bytes of its JSON."""
    value = "ä" * 10

    assert encode_result(value, 62) == value
    assert encode_result(value, 61)["$type"] == "repr"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({1, object}, "<class 'object'>"),
        (Wordy("a house"), "a house"),
        ("x" * 5000, "'xxx"),
        (list(range(5000)), "[0, 1, 2"),
        (b"\0" * 5000, "b'\\x00"),
        (Wordy("a\0\ud800"), r"a\x00\ud800"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_other_return_value_is_described(value: Any, text: str) -> None:
    """By a short repr, which reads back as a text."""
    data = encode_result(value, 1000)

    assert data["$type"] == "repr"
    assert text in decode_value(data)
    assert len(json.dumps(data)) <= 1000


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError(), MemoryError()],
    ids=lambda error: type(error).__name__,
)
def test_a_repr_that_raises_is_survived(error: BaseException) -> None:
    """A return value must not end the scheduler."""
    text = decode_value(encode_result(Silent(error), 1000))

    assert "Silent" in text


def test_the_description_is_short_however_much_is_allowed() -> None:
    """It is there to recognise a value."""
    text = decode_value(encode_result(Wordy("y" * 100_000), 65_536))

    assert len(text) <= 2000


@pytest.mark.parametrize("limit", [1, 5, 20, 40, 100, 1000])
@pytest.mark.parametrize("value", ["ä" * 3000, "😀" * 3000, Wordy("\0" * 3000), {"a": object()}])
def test_no_limit_is_too_small(value: Any, limit: int) -> None:
    """The form has its own length, the text in it is cut."""
    data = encode_result(value, limit)

    assert len(json.dumps(data)) <= max(limit, 60)
    assert isinstance(decode_value(data), str)


def test_return_values_are_never_pickled() -> None:
    """Nobody has to trust them in order to look at them."""
    with override_settings(ASYNC_APSCHEDULER={"SERIALIZER": "pickle"}):
        assert encode_result(Wordy("a house"), 1000) == {"$type": "repr", "value": "a house"}


def test_a_container_that_contains_itself_is_described() -> None:
    """There is no end to its JSON."""
    circle: list[Any] = []
    circle.append(circle)

    assert decode_value(encode_result(circle, 1000)).startswith("[[")


@pytest.mark.parametrize("text", ["", "plain", "hyvää 😀", "back\\slash\n"])
def test_a_text_that_can_be_stored_stays_itself(text: str) -> None:
    """Only what must be changed is."""
    assert safe_text(text, 20) == text


def test_what_no_database_takes_becomes_an_escape() -> None:
    """PostgreSQL refuses NUL, and UTF-8 has no lone surrogates."""
    text = safe_text("a\0b\ud800c\udfff", 100)

    assert text == r"a\x00b\ud800c\udfff"
    assert text.encode("utf-8")


@pytest.mark.parametrize("character", ["x", "\0", "\udc80"])
@pytest.mark.parametrize("length", [101, 150, 1000, 100_000])
def test_a_long_text_is_cut_and_says_how_much_is_missing(character: str, length: int) -> None:
    """The shown and the missing characters add up to the whole, within the limit."""
    text = safe_text(character * length, 100)

    shown, _, note = text.partition("… [")
    escape = safe_text(character, 10)
    assert len(text) <= 100
    assert shown.replace(escape, "") == ""
    assert note == f"{length - shown.count(escape)} more characters]"
    assert len(text) > 100 - len(escape) - 5  # nothing is cut without need


def test_a_text_that_only_its_escapes_make_too_long_is_cut_as_well() -> None:
    """The limit holds for what is stored."""
    text = safe_text("\0" * 50, 100)

    assert len(text) <= 100
    assert text.endswith("more characters]")


@pytest.mark.parametrize("limit", [0, 1, 10])
def test_a_limit_without_room_for_the_note_just_cuts(limit: int) -> None:
    """Short columns get what fits."""
    assert safe_text("abc" * 100, limit) == ("abc" * 100)[:limit]
