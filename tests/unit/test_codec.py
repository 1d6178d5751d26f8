"""Values as JSON and back: exact, readable, and safe against whatever a row may hold."""

from __future__ import annotations

import inspect
import io
import json
import random
import struct
import sys
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import IntEnum
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import mark_safe
from django.utils.timezone import get_fixed_timezone
from django.utils.translation import gettext_lazy

from async_apscheduler.codec import decode_value, encode_value
from async_apscheduler.exceptions import (
    AsyncAPSchedulerError,
    MalformedValueError,
    UnserializableArgumentError,
)
from tests.testapp.models import Note

HELSINKI = ZoneInfo("Europe/Helsinki")
POINT = namedtuple("POINT", "x y")


class Colour(IntEnum):
    """An int that is more than an int."""

    RED = 1


class Naming(tzinfo):
    """A time zone of somebody's own."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(hours=2)

    def dst(self, moment: datetime | None) -> timedelta:
        return timedelta(0)

    def tzname(self, moment: datetime | None) -> str:
        return "own"


def round_trip(value: Any) -> Any:
    """Send a value through the text that a database would keep."""
    text = json.dumps(encode_value(value, name="value"), allow_nan=False)
    assert "\\u0000" not in text
    assert "\\ud8" not in text.replace("\\ud83d\\ude00", "")  # but that of the emoji
    return decode_value(json.loads(text))


def refusal_of(value: Any) -> str:
    """Return what somebody is told who passes a value that cannot be stored."""
    with pytest.raises(UnserializableArgumentError) as caught:
        encode_value(value, name="argument 'it'")
    return str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        0,
        -7,
        2**63 - 1,
        -(2**63),
        0.0,
        0.1,
        -2.5,
        1e15,
        1e-7,
        5e-324,
        "",
        "hyvää päivää 😀",
        [],
        [1, [2.5, None]],
        {},
        {"a": {"b": [True, "c"]}, "": 1, "value": 2, "type": 3},
    ],
)
def test_what_json_can_carry_stays_itself(value: Any) -> None:
    """The admin shows it as it was given."""
    assert encode_value(value, name="value") == value
    assert repr(round_trip(value)) == repr(value)


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 6), {"value": "2026-01-02T03:04:05.000006"}),
        (datetime(2026, 1, 2, tzinfo=UTC), {"value": "2026-01-02T00:00:00+00:00"}),
        (
            datetime(2026, 1, 2, 3, 4, tzinfo=HELSINKI),
            {"value": "2026-01-02T03:04:00", "zone": "Europe/Helsinki"},
        ),
        (
            datetime(2026, 10, 25, 3, 30, tzinfo=HELSINKI, fold=1),
            {"value": "2026-10-25T03:30:00", "zone": "Europe/Helsinki", "fold": 1},
        ),
        (
            datetime(2026, 1, 2, tzinfo=get_fixed_timezone(90)),
            {"value": "2026-01-02T00:00:00+01:30", "tzname": "+0130"},
        ),
    ],
)
def test_a_datetime_is_readable_and_keeps_its_zone(value: datetime, form: dict[str, Any]) -> None:
    """The wall clock is kept with the name of the zone, an offset as an offset."""
    assert encode_value(value, name="value") == {"$type": "datetime", **form}

    restored = round_trip(value)

    assert repr(restored) == repr(value)
    assert restored.tzname() == value.tzname()


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        (datetime(1, 1, 1, fold=1), "datetime"),
        (datetime.max, "datetime"),
        (datetime(2026, 3, 29, 3, 30, tzinfo=HELSINKI), "datetime"),
        (datetime(2026, 1, 2, tzinfo=ZoneInfo("UTC")), "datetime"),
        (datetime(1890, 1, 2, tzinfo=timezone(timedelta(seconds=5989))), "datetime"),
        (datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=2), "E\0T")), "datetime"),
        (date(2026, 1, 2), "date"),
        (date.min, "date"),
        (time(3, 4, 5, 6), "time"),
        (time(3, 4, fold=1), "time"),
        (time(3, 4, tzinfo=UTC), "time"),
        (time(3, 4, tzinfo=HELSINKI), "time"),
        (timedelta(0), "timedelta"),
        (timedelta(microseconds=1), "timedelta"),
        (timedelta(days=-1, microseconds=1), "timedelta"),
        (timedelta.max, "timedelta"),
        (timedelta.min, "timedelta"),
        (Decimal("1.10"), "decimal"),
        (Decimal("-0E-9"), "decimal"),
        (Decimal("1E+400"), "decimal"),
        (Decimal("NaN"), "decimal"),
        (Decimal("-sNaN123"), "decimal"),
        (Decimal("-Infinity"), "decimal"),
        (UUID("12345678-1234-5678-1234-567812345678"), "uuid"),
        ((), "tuple"),
        ((1, ("a", [2])), "tuple"),
        (set(), "set"),
        ({1, "a", (2, 3)}, "set"),
        (frozenset({frozenset({1})}), "frozenset"),
        (b"", "bytes"),
        (bytes(range(256)), "bytes"),
        (float("inf"), "float"),
        (float("-inf"), "float"),
        (-0.0, "float"),
        (1e16, "float"),
        (1.5e300, "float"),
        (2**63, "int"),
        (-(2**63) - 1, "int"),
        (10**5000, "int"),
        ("a\0b", "str"),
        ("\ud800", "str"),
        ("\ud83d\ude00", "str"),
        ("%00 \0 ä", "str"),
        ({"$type": "date"}, "dict"),
        ({"$type": {"$type": 1}}, "dict"),
        ({1: "a", "1": "b", None: "c", (2, 3): {4: 5}}, "dict"),
        ({"a\0": 1}, "dict"),
        ({"\udfff": 1}, "dict"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_values_are_restored_exactly(value: Any, tag: str) -> None:
    """Type, value, zone, sign, and digits survive."""
    assert encode_value(value, name="value")["$type"] == tag

    restored = round_trip(value)

    assert type(restored) is type(value)
    if isinstance(value, (int, set, frozenset)):  # too long for a repr, or of another order
        assert restored == value
    else:
        assert repr(restored) == repr(value)


def test_a_float_that_is_not_a_number_comes_back_as_one() -> None:
    """JSON has no NaN, and PostgreSQL refuses Python's."""
    restored = round_trip(float("nan"))

    assert type(restored) is float
    assert restored != restored


def test_the_order_of_a_dict_is_kept_where_its_keys_are_not_plain() -> None:
    """Databases order the keys of an object, but not the pairs of a list."""
    value = {"zz": 1, 3: 2, "a": 3}

    assert list(round_trip(value)) == ["zz", 3, "a"]


def test_a_set_has_the_same_form_in_every_process() -> None:
    """Otherwise each start would see its declaration changed."""
    data = encode_value({"b", "ä", "a", 10, 2, (1,)}, name="value")

    member = {"$type": "tuple", "value": [1]}
    assert data == {"$type": "set", "value": ["\u00e4", "a", "b", 10, 2, member]}


def test_bool_and_int_are_told_apart_wherever_they_are() -> None:
    """In Python True equals 1, in a row it must not become it."""
    restored = round_trip([True, 1, {"a": False}, (0,)])

    assert [type(item) for item in restored[:2]] == [bool, int]
    assert restored[2]["a"] is False
    assert type(restored[3][0]) is int


@pytest.mark.parametrize(
    ("value", "way_out"),
    [
        (Note(pk=7), "Pass its primary key and fetch it in the job"),
        (Note.objects.all(), "Pass a list of primary keys"),
        (SimpleLazyObject(lambda: pytest.fail("evaluated")), "pass its primary key"),
        (gettext_lazy("yes"), "Call str() on it"),
        (mark_safe("<b>"), "subclass of str that would come back as a plain str. Convert it"),
        (Colour.RED, "subclass of int"),
        (OrderedDict(a=1), "subclass of dict"),
        (POINT(1, 2), "subclass of tuple"),
        (bytearray(b"x"), "builtins.bytearray, which JSON cannot carry. Pass a primary key"),
        (object(), "builtins.object"),
        (1j, "builtins.complex"),
        (Path("/x"), "pathlib."),
        (print, "builtins.builtin_function_or_method"),
        (Note, "which JSON cannot carry"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_carry_is_refused_with_the_ways_out(value: Any, way_out: str) -> None:
    """The message says where, what and what to do instead."""
    message = refusal_of(value)

    assert message.startswith("argument 'it' is ")
    assert way_out in message
    assert message.endswith("or set ASYNC_APSCHEDULER['SERIALIZER'] = 'pickle'.")


def test_a_zone_without_a_name_is_refused() -> None:
    """It could not be found again."""
    unnamed = datetime(2026, 1, 1, tzinfo=Naming())
    tzif = b"TZif" + bytes(16) + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + bytes(6) + b"UTC\0"
    from_file = datetime(2026, 1, 1, tzinfo=ZoneInfo.from_file(io.BytesIO(tzif)))

    assert "its time zone is a tests.unit.test_codec.Naming" in refusal_of(unnamed)
    assert "was read from a file and has no name" in refusal_of(from_file)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"user": {"x": [0, Note()]}}, "argument 'it'['user']['x'][1] is"),
        ((1, object()), "argument 'it'[1] is"),
        ({object()}, "a member of argument 'it' is"),
        ({("a", object()): 1}, "a key of argument 'it'[1] is"),
        ({("a",): object()}, "the value under a tuple of argument 'it' is"),
        ({"k" * 500: object()}, f"argument 'it'['{'k' * 56}...] is"),
    ],
)
def test_the_refusal_names_the_place(value: Any, place: str) -> None:
    """In a large structure the type alone would not help."""
    assert refusal_of(value).startswith(place)


def test_a_value_that_contains_itself_is_refused() -> None:
    """Neither a hang nor a RecursionError comes of it."""
    circle: list[Any] = []
    circle.append({"again": circle})

    assert "nested more than 100 levels deep, or contains itself" in refusal_of(circle)


def nested(levels: int, wrap: Any) -> Any:
    """Return a value inside that many containers."""
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    "wrap",
    [
        lambda value: [value],
        lambda value: (value,),
        lambda value: {"a": value},
        lambda value: {"$type": value},
        lambda value: frozenset([value]),
    ],
)
def test_a_hundred_levels_are_carried_and_no_more(wrap: Any) -> None:
    """A deep value is stored; what is deeper is a mistake."""
    value = nested(100, wrap)

    assert round_trip(value) == value
    assert "100 levels" in refusal_of(nested(101, wrap))


def test_a_caller_deep_in_its_own_calls_gets_the_same_error() -> None:
    """And not a RecursionError, which nobody expects."""

    def encode_under(calls: int) -> None:
        if calls:
            encode_under(calls - 1)
        else:
            encode_value(nested(95, lambda value: (value,)), name="argument 'it'")

    with pytest.raises(UnserializableArgumentError, match="levels deep"):
        encode_under(sys.getrecursionlimit() - len(inspect.stack()) - 100)


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"$type": value}])
def test_no_more_than_31_levels_of_json_are_written(wrap: Any) -> None:
    """MariaDB calls deeper JSON invalid; there is room for twelve levels around the value."""

    def depth(data: Any) -> int:
        if isinstance(data, dict):
            return 1 + max(map(depth, data.values()), default=0)
        return 1 + max(map(depth, data), default=0) if isinstance(data, list) else 0

    assert depth(encode_value(nested(100, wrap), name="value")) <= 19


@pytest.mark.parametrize(
    "data",
    [
        {"$type": "unheard of", "value": 1},
        {"$type": None, "value": 1},
        {"$type": ["datetime"], "value": 1},
        {"$type": "datetime"},
        {"$type": "os.system", "value": "true"},
        {"$type": "datetime", "value": 5},
        {"$type": "datetime", "value": "yesterday"},
        {"$type": "datetime", "value": "2026-01-01T00:00:00", "zone": "Europe/Atlantis"},
        {"$type": "datetime", "value": "2026-01-01T00:00:00", "zone": "../../etc/passwd"},
        {"$type": "datetime", "value": "2026-01-01T00:00:00", "zone": "Europe"},
        {"$type": "datetime", "value": "2026-01-01T00:00:00", "zone": 7},
        {"$type": "datetime", "value": "2026-01-01T00:00:00", "zone": "x" * 5000},
        {"$type": "datetime", "value": "2026-01-01T00:00:00+02:00", "zone": "Europe/Helsinki"},
        {"$type": "datetime", "value": "2026-01-01T00:00:00", "tzname": "EET"},
        {"$type": "datetime", "value": "2026-01-01T00:00:00", "fold": 2},
        {"$type": "datetime", "value": "2026-01-01T00:00:00", "fold": "1"},
        {"$type": "date", "value": "2026-02-30"},
        {"$type": "time", "value": "25:00"},
        {"$type": "timedelta", "value": "soon"},
        {"$type": "timedelta", "value": "P99999999999D"},
        {"$type": "decimal", "value": "much"},
        {"$type": "decimal", "value": 1.5},
        {"$type": "uuid", "value": "1234"},
        {"$type": "bytes", "value": "***"},
        {"$type": "bytes", "value": "ä"},
        {"$type": "str", "value": "%ff"},
        {"$type": "int", "value": "0xzz"},
        {"$type": "float", "value": "one"},
        {"$type": "tuple", "value": "abc"},
        {"$type": "set", "value": [[1]]},
        {"$type": "frozenset", "value": {"a": 1}},
        {"$type": "dict", "value": {"a": 1}},
        {"$type": "dict", "value": ["ab"]},
        {"$type": "dict", "value": [[1]]},
        {"$type": "dict", "value": [[[], 1]]},
        {"$type": "json", "value": "{"},
        {"$type": "json", "value": 5},
        {"$type": "json", "value": "[" * 100_000},
        {"$type": "tuple", "value": [{"$type": "nothing"}]},
    ],
    ids=lambda data: ascii(data)[:60],
)
def test_damaged_data_is_refused_with_one_kind_of_error(data: Any) -> None:
    """Whoever reads a row has one thing to catch, and no class is made from a name."""
    with pytest.raises(MalformedValueError, match=r"^A stored value"):
        decode_value(data)


@pytest.mark.parametrize("data", [Decimal(1), b"x", (1,), {1: date(2026, 1, 1)}])
def test_what_is_not_json_is_refused(data: Any) -> None:
    """Only what a JSON column can return is read."""
    with pytest.raises(MalformedValueError, match="which is not JSON"):
        decode_value(data)


def test_data_deeper_than_any_value_is_refused() -> None:
    """A row cannot exhaust the stack."""
    with pytest.raises(MalformedValueError, match="nested"):
        decode_value(nested(600, lambda value: [value]))


def test_random_json_raises_nothing_but_errors_of_ours() -> None:
    """A seeded storm of damaged forms: each is either read, or refused by name."""
    chance = random.Random(20260101)
    tags = ["datetime", "date", "time", "timedelta", "decimal", "uuid", "bytes", "str", "int"]
    tags += ["float", "tuple", "set", "frozenset", "dict", "json", "pickle", "repr", "x", ""]
    texts = ["", "1", "-", "2026-01-01", "2026-01-01T00:00", "03:00+02:00", "P1D", "NaN", "%ud8"]
    texts += ["AAAA", "0x1f", "\ud800", "a\0", "[1]", '{"$type": 1}', "Europe/Helsinki", "٣", "1e9"]

    def anything(level: int = 0) -> Any:
        kind = chance.randrange(9 if level < 4 else 6)
        if kind < 6:
            return chance.choice(
                [None, True, 0, -1, 2**80, 1.5, float("nan"), *[chance.choice(texts)] * 4]
            )
        if kind == 6:
            return [anything(level + 1) for _ in range(chance.randrange(4))]
        keys = ["value", "zone", "fold", "tzname", "a"]
        data = {key: anything(level + 1) for key in chance.sample(keys, chance.randrange(5))}
        return {"$type": chance.choice(tags), "value": anything(level + 1), **data}

    read = refused = 0
    for _ in range(5000):
        data = anything()
        try:
            decode_value(data, serializer=chance.choice(["json", "pickle"]))
            read += 1
        except AsyncAPSchedulerError:
            refused += 1

    assert read > 500
    assert refused > 500


def test_random_values_survive() -> None:
    """A seeded storm of nested values: each comes back as it was, to the last bit of a float."""
    chance = random.Random(20260102)

    def leaf() -> Any:
        return chance.choice(
            [
                None,
                chance.random() < 0.5,
                chance.randrange(-(2**70), 2**70),
                struct.unpack("d", chance.randbytes(8))[0],
                "".join(chance.choices("aä😀\0\ud800\\\"%$'", k=chance.randrange(5))),
                chance.randbytes(4),
                datetime.fromtimestamp(chance.randrange(2**32), HELSINKI),
                timedelta(chance.randrange(-(10**6), 10**6), 0, chance.randrange(10**6)),
                Decimal(chance.randrange(10**20)).scaleb(chance.randrange(-30, 30)),
                UUID(int=chance.getrandbits(128)),
            ]
        )

    def anything(level: int = 0) -> Any:
        size = range(chance.randrange(4))
        makers: list[Callable[[], Any]] = [
            leaf,
            lambda: [anything(level + 1) for _ in size],
            lambda: tuple(anything(level + 1) for _ in size),
            lambda: {str(leaf()): anything(level + 1) for _ in size},
            lambda: {leaf(): anything(level + 1) for _ in size},
        ]
        return chance.choice(makers[: 5 if level < 4 else 1])()

    for _ in range(600):
        value = anything()

        assert repr(round_trip(value)) == repr(value)
