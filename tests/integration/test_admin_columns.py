"""How values look: durations, moments, texts, colours."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from importlib.resources import files

import pytest
from django.test.utils import override_settings
from django.utils import translation

from async_apscheduler import admin_settings, masking
from async_apscheduler.admin import columns
from async_apscheduler.exceptions import ConfigurationError
from async_apscheduler.models import Status

pytestmark = pytest.mark.once

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"),
        (-0.2, "0 ms"),
        (0.0123, "12 ms"),
        (3.44, "3.4 s"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.99, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3599.7, "1 h 0 min"),
        (90_000, "25 h 0 min"),
    ],
)
def test_durations_have_about_three_digits(seconds: float | None, words: str) -> None:
    """In the units that people use; they do not break over two lines."""
    assert columns.duration(seconds) == words.replace(" ", "\xa0")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 seconds ago"),
        (1.5, "in 1 second"),
        (-59, "59 seconds ago"),
        (90, "in 1 minute"),
        (-7300, "2 hours ago"),
    ],
)
def test_distances_are_told_in_one_unit(seconds: float, words: str) -> None:
    """To the second when it is near, coarser when it is not."""
    told = columns.how_far(NOON + timedelta(seconds=seconds), NOON)

    assert told.replace("\xa0", " ") == words


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "June 1, 2026, 12:00:05 p.m."),
        ("de", "1. Juni 2026 12:00:05"),
        ("fi", "1. kesäkuuta 2026 kello 12.00.05"),
        ("ja", "2026年6月1日12:00:05"),
    ],
)
def test_moments_are_told_in_the_active_language_with_seconds(language: str, told: str) -> None:
    """Django's own format of moments leaves the seconds out."""
    with translation.override(language), override_settings(TIME_ZONE="UTC"):
        shown = columns.moment(NOON + timedelta(seconds=5))

    assert re.sub("<[^>]*>", "", shown) == told


def test_a_format_of_the_wrong_kind_is_refused() -> None:
    """The error names the setting and what it takes."""
    with (
        override_settings(APSCHEDULER_DATETIME_FORMAT=7),
        pytest.raises(ConfigurationError, match="APSCHEDULER_DATETIME_FORMAT must be a format"),
    ):
        admin_settings.datetime_format()


def test_long_texts_are_cut_and_say_so() -> None:
    """A cell shows one line; a page says how much is missing."""
    cell = columns.cell("x" * 500 + "\nsecond")
    block = columns.block("x" * (columns.BLOCK_LENGTH + 17))

    assert f">{'x' * 119}…<" in cell
    assert "[17 more characters]" in block


@pytest.mark.parametrize("text", ["<b>", '"><script>', "'&"])
def test_every_helper_escapes(text: str) -> None:
    """Data never becomes markup."""
    shown = [
        columns.badge(text, "good", title=text),
        columns.run_badge(text, title=text),
        columns.words(text),
        columns.stacked(text, text),
        columns.cell(text),
        columns.block(text),
        columns.json_block({text: text}),
        columns.job_name(text, text * 2),
        columns.link("/", text),
    ]

    for html in shown:
        assert text not in str(html)


def test_each_status_has_a_colour() -> None:
    """None looks like one that is not known."""
    assert set(columns.RUN_TONES) == set(Status)


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("password", True),
        ("DB_PASSWORD", True),
        ("X-Api-Key", True),
        ("accessToken", True),
        ("Authorization", True),
        ("client_secret", True),
        ("author", False),
        ("key", False),
        ("passenger", False),
        (7, False),
    ],
)
def test_names_tell_what_is_secret(name: object, secret: bool) -> None:
    """Whatever the spelling."""
    assert masking.is_secret(name) is secret


@pytest.mark.parametrize(
    "value",
    [{"$type": "dict"}, {"$type": "dict", "value": [1]}, {"$type": "json", "value": 3}, None, 1.5],
)
def test_values_that_nobody_stored_are_masked_without_an_error(value: object) -> None:
    """A row may have been written by hand."""
    masking.masked(value)


def test_pickled_values_are_not_shown() -> None:
    """Base64 hides nothing."""
    assert masking.masked([{"$type": "pickle", "value": "c2VjcmV0"}]) == [
        {"$type": "pickle", "value": masking.MASK}
    ]


def test_badges_are_readable_in_both_themes() -> None:
    """Text and ground of each colour differ by 7 to 1, which WCAG calls AAA."""
    sheet = files("async_apscheduler").joinpath("static/async_apscheduler/admin.css").read_text()
    blocks = re.findall(r"\{([^{}]*--apscheduler-[^{}]*-bg:[^{}]*)\}", sheet)
    colours = [dict(re.findall(r"--apscheduler-([a-z-]+): (#\w{6});", block)) for block in blocks]
    tones = {columns.GOOD, columns.BAD, columns.BUSY, columns.WAITING, columns.ODD, columns.QUIET}

    assert len(colours) == 3  # light, dark by choice, dark by the system
    assert colours[1] == colours[2]
    for theme in colours:
        assert {name.removesuffix("-fg") for name in theme if name.endswith("-fg")} == tones
        for tone in tones:
            assert _contrast(theme[f"{tone}-fg"], theme[f"{tone}-bg"]) >= 7


def _contrast(first: str, second: str) -> float:
    """Return the ratio of two colours by the formula of WCAG 2."""
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(
        weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True)
    )
