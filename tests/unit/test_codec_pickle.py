"""Pickles: only where the setting says so, and only those that this project has signed."""

from __future__ import annotations

import base64
import json
import pickle
from decimal import Context
from typing import Any

import pytest
from django.core.signing import Signer
from django.test import override_settings
from django.utils.safestring import SafeString, mark_safe

from async_apscheduler.codec import decode_value, encode_arguments, encode_value
from async_apscheduler.exceptions import (
    InvalidJobError,
    MalformedValueError,
    TamperedValueError,
    UnserializableArgumentError,
)
from tests.testapp.functions import Greeter
from tests.testapp.models import Note

opened: list[str] = []


def go_off() -> None:
    """Leave a trace."""
    opened.append("boom")


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self) -> Any:
        return go_off, ()


@pytest.fixture(autouse=True)
def no_trace() -> None:
    """Begin without traces."""
    opened.clear()


def test_by_default_nothing_is_pickled() -> None:
    """The setting is "json"."""
    with pytest.raises(UnserializableArgumentError):
        encode_value(Greeter(), name="value")


@pytest.mark.parametrize("source", ["argument", "setting"])
def test_a_pickle_carries_what_json_cannot(source: str) -> None:
    """Asked for by the setting, or by one store for itself."""
    value = {"note": Note(pk=7, text="hei"), "safe": mark_safe("<b>"), "plain": 1}
    setting = {"SERIALIZER": "pickle"} if source == "setting" else {}
    chosen = "pickle" if source == "argument" else None

    with override_settings(ASYNC_APSCHEDULER=setting):
        data = json.loads(json.dumps(encode_value(value, name="value", serializer=chosen)))
        restored = decode_value(data, serializer=chosen)

    assert data["note"]["$type"] == data["safe"]["$type"] == "pickle"
    assert data["plain"] == 1  # what JSON can carry stays readable
    assert restored["note"] == value["note"]
    assert restored["note"].text == "hei"
    assert type(restored["safe"]) is SafeString


def test_a_value_that_contains_itself_is_pickled_whole() -> None:
    """Pickle knows circles."""
    circle: list[Any] = [1]
    circle.append(circle)

    restored = decode_value(
        encode_value(circle, name="value", serializer="pickle"), serializer="pickle"
    )

    assert restored[0] == 1
    assert restored[1] is restored


def test_what_cannot_be_pickled_either_is_refused() -> None:
    """The message names the argument."""
    with pytest.raises(UnserializableArgumentError) as caught:
        encode_arguments([lambda: None], {}, names=["callback"], serializer="pickle")

    assert str(caught.value).startswith("argument 'callback' is of type builtins.function")
    assert "cannot be pickled" in str(caught.value)


def test_a_pickle_is_not_loaded_while_the_serializer_is_json() -> None:
    """Even one that is signed: the setting may have been switched off on purpose."""
    data = encode_value(Bomb(), name="value", serializer="pickle")

    with pytest.raises(MalformedValueError, match=r"Set ASYNC_APSCHEDULER\['SERIALIZER'\]"):
        decode_value(data)

    assert opened == []


def forged() -> list[str]:
    """Return pickles that somebody without the key could write."""
    payload = base64.b64encode(pickle.dumps(Bomb())).decode("ascii")
    genuine = encode_value(1j, name="value", serializer="pickle")["value"]
    return [
        payload,
        f"{payload}:",
        f"{payload}:{genuine.rpartition(':')[2]}",
        f"{payload}:ä",
        f"{payload}:\ud800",
        Signer(key="another key", salt="async_apscheduler.codec.pickle").sign(payload),
        Signer(salt="another purpose").sign(payload),
        "",
    ]


@pytest.mark.parametrize("number", range(8))
def test_a_forged_pickle_is_refused_before_it_is_read(number: int) -> None:
    """Unpickling runs code, so the signature comes first."""
    with pytest.raises(TamperedValueError, match="SECRET_KEY"):
        decode_value({"$type": "pickle", "value": forged()[number]}, serializer="pickle")

    assert opened == []


def test_the_trace_would_have_shown() -> None:
    """The bomb of the test above does go off where it is rightly signed."""
    data = encode_value(Bomb(), name="value", serializer="pickle")

    decode_value(data, serializer="pickle")

    assert opened == ["boom"]


def test_tampering_is_not_mistaken_for_a_wrong_argument() -> None:
    """Whoever forgives a mistake must not forgive an attack."""
    assert not issubclass(TamperedValueError, (InvalidJobError, ValueError))


def test_pickles_survive_a_new_secret_key_while_the_old_one_is_a_fallback() -> None:
    """Django's own way of changing the key."""
    with override_settings(SECRET_KEY="old"):
        data = encode_value(Context(prec=5), name="value", serializer="pickle")

    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"]):
        assert decode_value(data, serializer="pickle").prec == 5

    with override_settings(SECRET_KEY="new"), pytest.raises(TamperedValueError):
        decode_value(data, serializer="pickle")


@pytest.mark.parametrize("payload", ["!!!", "AAAA", "", "gASVAAAAAAAAAA=="])
def test_a_signed_pickle_that_cannot_be_loaded_is_told_as_damage(payload: str) -> None:
    """As when its class was renamed."""
    signed = Signer(salt="async_apscheduler.codec.pickle").sign(payload)

    with pytest.raises(MalformedValueError, match="cannot be loaded"):
        decode_value({"$type": "pickle", "value": signed}, serializer="pickle")


def test_a_pickle_that_is_no_text_is_refused() -> None:
    """A row may hold anything."""
    with pytest.raises(MalformedValueError, match="must be a text"):
        decode_value({"$type": "pickle", "value": 7}, serializer="pickle")
