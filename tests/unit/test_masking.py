"""What is recognised as a secret, by its name or by its shape."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from async_apscheduler.masking import MASK, is_secret, masked, masked_arguments, masked_text

HIDDEN = "hunter2"

TELLTALE_TEXTS = [
    "postgres://user:hunter2@db.example/shop",
    "redis://:hunter2@cache:6379/0",
    "amqp://user:hun/ter2@mq/",
    "amqp://user:more@hunter2@mq/",
    "(mysql://user:hunter2@db)",
    "user=shop password=hunter2 host=db",
    "connect(host=db,password=hunter2)",
    "{'db_password': 'hunter2', 'user': 'shop'}",
    "{'password': b'hunter2'}",
    '{"apiKey":"hunter2","user":"shop"}',
    r"{\"password\": \"hunter2 and more\"}",
    "password='it\\'s hunter2'",
    'password="hunter2 without an end',
    "https://example.com/?a=1&access_token=hunter2&b=2",
    "Authorization: Basic hunter2",
    "Cookie: a=b; session=hunter2",
    "{'X-Auth-Token': 'hunter2'}",
    "os.environ['API_KEY'] = 'hunter2'",
    "the header was Bearer hunter2.hunter2.hunter2",
    "DETAIL:  Key (api_token)=(hunter2) already exists.",
    "secret => hunter2",
    "config.password: hunter2",
    "data='password=hunter2'",
    "-----BEGIN PRIVATE KEY-----\nhunter2\nhunter2\n-----END PRIVATE KEY-----",
]

INNOCENT_TEXTS = [
    "",
    "ValueError: the ladder broke",
    "http://localhost:8000/users/@me",
    "http://user@example.com/",
    "jwt.exceptions.InvalidTokenError: Not enough segments",
    "InvalidTokenError: Not enough segments",
    "cryptography.fernet.InvalidToken: no key fits",
    "Access denied for user 'shop'@'db' (using password: YES)",
    "if password == other:",
    "password = None",
    "12:30:45 the passenger: Smith",
    "password",
]


@pytest.mark.parametrize("text", TELLTALE_TEXTS)
def test_a_secret_in_a_text_is_masked(text: str) -> None:
    """Addresses, connection strings, reprs, JSON, queries, headers, keys."""
    shown = masked_text(text)

    assert MASK in shown
    assert HIDDEN not in shown
    assert "ter2" not in shown


@pytest.mark.parametrize("text", INNOCENT_TEXTS)
def test_other_texts_stay_as_they_are(text: str) -> None:
    """A mask in a wrong place would hide why something failed."""
    assert masked_text(text) == text


@pytest.mark.parametrize("text", TELLTALE_TEXTS)
def test_masking_twice_changes_nothing_more(text: str) -> None:
    """Once when it is stored, and again when it is shown."""
    once = masked_text(text)

    assert masked_text(once) == once


def test_a_traceback_keeps_its_lines() -> None:
    """A quotation mark that is never closed must not take the following lines along."""
    traceback = (
        "Traceback (most recent call last):\n"
        '  File "/srv/token: x/jobs.py", line 3, in login\n'
        '    raise ValueError("bad token=" + token)\n'
        '  File "/srv/jobs.py", line 7, in check\n'
        "ValueError: bad token=hunter2\n"
    )

    shown = masked_text(traceback)

    assert HIDDEN not in shown
    assert len(shown.splitlines()) == 5
    assert shown.splitlines()[3] == '  File "/srv/jobs.py", line 7, in check'


@pytest.mark.parametrize(
    "text",
    ["a=", "://:", "://:@", "password='", "password=\"password='", "a\\", "password=)", "a ", "(:"],
)
def test_no_text_takes_long_to_search(text: str) -> None:
    """Whoever may let a job fail must not hold up the scheduler; the limit is generous."""
    masked_text(text * (65_536 // len(text)))  # pytest-timeout ends what is quadratic here


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"user": "shop", "password": "hunter2"}, {"user": "shop", "password": MASK}),
        ({"list": [{"authToken": "hunter2"}]}, {"list": [{"authToken": MASK}]}),
        ([["Authorization", "hunter2"]], [["Authorization", MASK]]),
        (["login", "--password", "hunter2", "now"], ["login", "--password", MASK, "now"]),
        ({"url": "a://user:hunter2@b"}, {"url": f"a://user:{MASK}@b"}),
        (
            {"$type": "tuple", "value": ["token", "hunter2"]},
            {"$type": "tuple", "value": ["token", MASK]},
        ),
        (
            {"$type": "repr", "value": "<x token=hunter2>"},
            {"$type": "repr", "value": f"<x token={MASK}>"},
        ),
        ({"$type": "str", "value": "token%3Dhunter2%00"}, {"$type": "str", "value": MASK}),
        ({"$type": "str", "value": "plain%00"}, {"$type": "str", "value": "plain%00"}),
        (["password", "hunter2", 3], ["password", "hunter2", 3]),  # three words, not a pair
        (7, 7),
    ],
)
def test_values_are_masked_at_any_depth(value: Any, shown: Any) -> None:
    """In whichever form they are stored."""
    assert masked(value) == shown


def test_the_project_can_name_more_secrets() -> None:
    """In any alphabet, in any spelling, beside those that are known; live, as every setting."""
    before = is_secret("customer_iban")
    with override_settings(ASYNC_APSCHEDULER={"SENSITIVE_NAMES": ["IBAN", "salasana", "Пароль"]}):
        found = [is_secret(name) for name in ("customer-iban", "Salasana2", "пароль", "password")]
        others = [is_secret(name) for name in ("customer", "имя", "")]

    assert not before
    assert found == [True] * 4
    assert others == [False] * 3


@pytest.mark.parametrize("func", ["tests.testapp.leaks:gone", "os:system", "not a reference"])
def test_arguments_of_an_unknown_function_are_not_shown(func: str) -> None:
    """Their names are not known, so each may be a secret; what has a name is told by it."""
    pairs = masked_arguments(func, ["hunter2", 7], {"user": "shop", "token": "hunter2"})

    assert pairs == [("args[0]", MASK), ("args[1]", MASK), ("user", "shop"), ("token", MASK)]


def test_positional_arguments_go_by_the_names_of_their_parameters() -> None:
    """So does a password that was not given by name."""
    pairs = masked_arguments("tests.testapp.leaks:blurt_out", ["a://b:hunter2@c", "hunter2"], {})

    assert pairs == [("address", f"a://b:{MASK}@c"), ("password", MASK)]
