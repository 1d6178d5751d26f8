"""Keep secrets out of what people read: pages, log lines, stored exceptions, the audit trail.

Such texts end up in screenshots, log collectors and tickets, and whoever may look at jobs need not
know the passwords that they use. A value is known to be a secret by its name, in a free text also
by its shape: the password in an address, a bearer token.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from async_apscheduler.conf import get_settings
from async_apscheduler.exceptions import InvalidJobError
from async_apscheduler.references import resolve

MASK = "••••••••"

SECRET_WORDS = (
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "encryptionkey",
    "authorization",
    "credential",
    "cookie",
)
"""A name that contains one of these, whatever its capitals and dashes, names a secret."""

_IN_ADDRESS = re.compile(
    r"(://[^\s/:@]{0,256}:)"
    r"(?!\d+[/?#])"  # a port, not a password
    r"[^\s'\"<>]{1,256}?"
    r"(?=@[^\s@/]{0,256}(?:[\s/'\"?#,;)\]}]|$))"
)
_BEARER = re.compile(r"\b(bearer\s{1,3})[\w.~+/=-]{8,}", re.IGNORECASE)
_PRIVATE_KEY = re.compile(
    r"(-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----).*?(?=-----END |\Z)", re.DOTALL
)
_NAME = re.compile(
    r"(?<![\w.-])(?P<name>[\w.-]++)(?P<quote>\\*+['\"]?[)\]]?)"
    r"[ \t]*+(?P<sign>=>|:(?!:)|=(?!=))[ \t]*+"
)
_VALUE = re.compile(
    rf"{MASK}|(?:(?:bearer|basic|digest|token)[ \t]++)?[bru]{{0,2}}"
    r"(?:(?P<quote>\\*['\"])(?:\\.|.)*?(?:(?P=quote)|$)|[^\s&;]*[^\s&;,)\]}>'\"])",
    re.IGNORECASE | re.MULTILINE,
)
_HARMLESS = re.compile(r"none|null|true|false|yes|no", re.IGNORECASE)
"""Values that are no secrets, and tell much: "(using password: NO)"."""

_HEADER = re.compile(r".*(?:authorization|cookie)", re.IGNORECASE)
_REST_OF_LINE = re.compile(r"[^\r\n'\"]+")

_CLASS_NAME = re.compile(r"(?:\w+\.)+[A-Z]\w*[a-z]\w*|[A-Z]+[a-z]\w*[A-Z]\w*")
"""Names that end with a colon in the last line of a traceback: "jwt.InvalidTokenError: ..."."""


def is_secret(name: object) -> bool:
    """Return True if a value of this name should not be shown."""
    plain = _plain(str(name))
    return any(word in plain for word in _words(get_settings().sensitive_names))


def masked(value: Any) -> Any:
    """Return a stored value with the secrets in it replaced, at any depth."""
    if isinstance(value, str):
        return masked_text(value)
    if isinstance(value, list):
        return [_masked_item(value, index) for index in range(len(value))]
    if not isinstance(value, dict):
        return value
    kind = value.get("$type")
    if kind == "dict" and isinstance(value.get("value"), list):
        return {**value, "value": [_masked_pair(pair) for pair in value["value"]]}
    if kind == "json":
        return {**value, "value": _masked_json(value.get("value"))}
    if kind == "str":
        return {**value, "value": _masked_quoted(value.get("value"))}
    if kind == "pickle":
        return {**value, "value": MASK}
    return {key: MASK if is_secret(key) else masked(item) for key, item in value.items()}


def masked_text(text: str) -> str:
    """Return a text, such as a traceback, with what looks like a secret in it replaced.

    The lines stay as they are. A secret without a name, alone among words, is not recognised.
    """
    if "PRIVATE KEY" in text:
        text = _PRIVATE_KEY.sub(rf"\1{MASK}", text)
    if "://" in text:
        text = _IN_ADDRESS.sub(rf"\1{MASK}", text)
    if ":" in text or "=" in text:
        text = "".join(_without_named_secrets(text))
    return _BEARER.sub(rf"\1{MASK}", text)


def masked_arguments(func: str, args: Any, kwargs: Any) -> list[tuple[str, Any]]:
    """Return the stored arguments of a job as pairs of name and masked value.

    Positional arguments get the names of the parameters. If the function cannot be imported, what
    they are is not known, so none of them is shown.
    """
    positional = args if isinstance(args, list) else [args]
    keyword = kwargs if isinstance(kwargs, dict) else {"**": kwargs}
    names = _parameter_names(func, len(positional))
    if names is None:
        pairs = [(f"args[{index}]", MASK) for index in range(len(positional))]
    else:
        pairs = [_masked_entry(*pair) for pair in zip(names, positional, strict=True)]
    return pairs + [_masked_entry(*pair) for pair in keyword.items()]


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


@lru_cache(maxsize=8)
def _words(more: tuple[str, ...]) -> tuple[str, ...]:
    return (*SECRET_WORDS, *map(_plain, more))


def _masked_entry(name: str, value: Any) -> tuple[str, Any]:
    return name, MASK if is_secret(name) else masked(value)


def _masked_item(items: list[Any], index: int) -> Any:
    """Return an item; one that follows a name, as in a header or a command line, is its value."""
    before = items[index - 1] if index else None
    names = isinstance(before, str) and (len(items) == 2 or before.startswith("-"))
    return MASK if names and is_secret(before) else masked(items[index])


def _masked_pair(pair: Any) -> Any:
    if not isinstance(pair, list) or len(pair) != 2:
        return masked(pair)
    key, value = pair
    return [masked(key), MASK if is_secret(key) else masked(value)]


def _masked_json(text: Any) -> Any:
    """Return JSON inside a text, which is how deeply nested values are stored, without secrets."""
    try:
        return masked(json.loads(text))
    except (TypeError, ValueError, RecursionError):
        return MASK


def _masked_quoted(text: Any) -> Any:
    """Return a percent-encoded text, or nothing of it if there is a secret inside."""
    if not isinstance(text, str):
        return MASK
    plain = unquote(text)
    return text if masked_text(plain) == plain else MASK


def _without_named_secrets(text: str) -> Iterator[str]:
    """Yield the pieces of a text, with a mask for each value whose name says that it is secret."""
    copied = 0
    place = _NAME.search(text)
    while place is not None:
        end = place.end()
        value = _secret_value(text, place)
        if value is not None:
            yield text[copied:end]
            yield MASK
            end = copied = value.end()
        place = _NAME.search(text, end)
    yield text[copied:]


def _secret_value(text: str, place: re.Match[str]) -> re.Match[str] | None:
    """Return where the value of a name stands, or None if it may be shown."""
    name, quote, sign = place.group("name", "quote", "sign")
    in_line = sign == ":" and not quote
    if not is_secret(name) or (in_line and _CLASS_NAME.fullmatch(name)):
        return None
    pattern = _REST_OF_LINE if in_line and _HEADER.fullmatch(name) else _VALUE
    value = pattern.match(text, place.end())
    return None if value is None or _HARMLESS.fullmatch(value[0]) else value


def _parameter_names(func: str, count: int) -> list[str] | None:
    """Return the names of the parameters that positional arguments go to; None if unknown."""
    try:
        function = resolve(func)
    except InvalidJobError:
        return None
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a builtin may not tell
        parameters = []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [parameter.name for parameter in parameters if parameter.kind in kinds]
    return [names[index] if index < len(names) else f"args[{index}]" for index in range(count)]
