"""The digest of a declaration: the same for the same words, another one for all else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from typing import Any

import pytest
from apscheduler.triggers.cron import CronTrigger
from django.test import override_settings

from async_apscheduler.models import digests
from async_apscheduler.models.digests import Digests
from async_apscheduler.models.limits import DIGEST_LENGTH
from async_apscheduler.registry import Declaration, job, registry, scheduled_job
from tests.testapp import functions

pytestmark = pytest.mark.once


class Level(IntEnum):
    """Its members equal numbers."""

    ONE = 1


@pytest.fixture(autouse=True)
def code() -> Iterator[None]:
    """Begin without declarations."""
    with registry.isolated():
        yield


def declared(
    trigger: Any = "interval", func: Callable[..., Any] = functions.plain, **words: Any
) -> Declaration:
    """Return a declaration; by default one of every hour."""
    if trigger == "interval":
        words = {"hours": 1, **words}
    scheduled_job(trigger, **{"id": "job", **words})(func)
    (declaration,) = registry.declarations()
    registry.clear()
    return declaration


def digest(*args: Any, **words: Any) -> str:
    """Return the digest of a declaration, made anew."""
    return Digests().of(declared(*args, **words))


EVERYTHING: dict[str, Any] = {
    "args": [1, "two", b"three", None, (4.5, {"a", "b", "c", "d", "e", "f"})],
    "kwargs": {"key": [7]},
    "timeout": timedelta(seconds=8),
    "minutes": 9,
    "timezone": "Asia/Tokyo",
}


@pytest.mark.parametrize("words", [{}, EVERYTHING], ids=["little", "all that is plain"])
def test_the_same_words_have_the_same_digest(words: dict[str, Any]) -> None:
    """Whatever object says them."""
    assert digest(**words) == digest(**words)
    assert len(digest(**words)) == DIGEST_LENGTH


def test_the_same_words_have_the_same_digest_in_another_process() -> None:
    """Also where hashes, and so the order of sets, are others."""
    program = (
        "import django; django.setup()\n"
        "from tests.unit.test_digests import EVERYTHING, digest\n"
        "print(digest(**EVERYTHING))"
    )
    there = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert there.stdout.strip() == digest(**EVERYTHING)


@pytest.mark.parametrize(
    "words",
    [
        {"hours": 2},
        {"hours": 1.0},
        {"hours": True},
        {"minutes": 0},
        {"trigger": "cron", "hour": 1},
        {"args": []},
        {"args": [1]},
        {"kwargs": {"key": 1}},
        {"name": "Another"},
        {"timeout": 5},
        {"next_run_time": None},
        {"func": functions.coroutine},
    ],
    ids=str,
)
def test_each_word_counts(words: dict[str, Any]) -> None:
    """Also its type, and that it is said at all."""
    assert digest(**words) not in ("", digest())


def test_the_options_of_job_count() -> None:
    """They are those of each declaration of the function."""
    before = digest()
    scheduled_job("interval", hours=1, id="job")(job(timeout=5)(functions.plain))

    (declaration,) = registry.declarations()

    assert Digests().of(declaration) not in ("", before)


@pytest.mark.parametrize(
    "settings",
    [
        {"JOB_DEFAULTS": {"coalesce": False}},
        {"TIME_ZONE": "Asia/Tokyo"},
        {"SERIALIZER": "pickle"},
    ],
    ids=str,
)
def test_settings_that_jobs_depend_on_count(settings: dict[str, Any]) -> None:
    """What is not said is as they say."""
    before = digest()

    with override_settings(ASYNC_APSCHEDULER=settings):
        assert digest() not in ("", before)


def test_another_version_of_the_package_looks_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may know better what is wrong with a declaration."""
    before = digest()
    monkeypatch.setattr(digests, "__version__", "99")

    assert digest() not in ("", before)


def test_what_the_function_takes_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments that were right for it may be wrong now."""

    def plain(one: int, /, two: int = 2, *, three: int) -> None: ...

    before = digest()
    plain.__module__, plain.__qualname__ = functions.plain.__module__, "plain"
    monkeypatch.setattr(functions, "plain", plain)

    assert digest(func=plain) not in ("", before)


MADE_ELSEWHERE = functions.Greeter()


@pytest.mark.parametrize(
    "words",
    [
        {"trigger": CronTrigger(hour=3)},
        {"start_date": datetime(2030, 1, 1, tzinfo=UTC)},
        {"hours": Level.ONE},
        {"args": [Decimal(1)]},
        {"args": [[[Level.ONE]]]},
        {"args": [bytearray(b"as bytes")]},
        {"kwargs": {"key": {"deep": memoryview(b"as bytes")}}},
        {"kwargs": {"key": timedelta(1)}},
        {"func": MADE_ELSEWHERE.greet},
        {"func": functions.Greeter.introduce},
        {"func": functions.cached},
    ],
    ids=str,
)
def test_what_may_hide_something_has_no_digest(words: dict[str, Any]) -> None:
    """Values of other types than Python's plain ones, and functions with an instance."""
    assert digest(**words) == ""


def test_a_function_that_is_no_longer_found_under_its_name_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that the start tells of it, as it would for a new job."""
    declaration = declared()

    for other in (functions.coroutine, None):
        monkeypatch.setattr(functions, "plain", other)
        assert Digests().of(declaration) == ""


def test_a_function_that_is_no_longer_allowed_has_none() -> None:
    """Its job is refused, whatever was said before."""
    with override_settings(ASYNC_APSCHEDULER={"ALLOWED_MODULES": ["elsewhere"]}):
        assert digest() == ""
