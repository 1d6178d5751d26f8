"""Keep secrets out of the pages: values whose name says that they are one are not shown.

A page of the admin ends up in screenshots and on shared screens, and whoever may look at jobs need
not know the passwords that they use.
"""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

from async_apscheduler.exceptions import InvalidJobError
from async_apscheduler.references import resolve

MASK = "••••••••"

SECRET_WORDS = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "authorization",
    "credential",
)
"""A name that contains one of these, whatever its capitals and dashes, names a secret."""


def is_secret(name: object) -> bool:
    """Return True if a value of this name should not be shown."""
    plain = re.sub(r"[^a-z0-9]", "", str(name).lower())
    return any(word in plain for word in SECRET_WORDS)


def masked(value: Any) -> Any:
    """Return a stored value with the secrets in it replaced, at any depth."""
    if isinstance(value, list):
        return [masked(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("$type")
    if kind == "dict":
        return {**value, "value": [_masked_pair(pair) for pair in value.get("value", [])]}
    if kind == "json":
        return {**value, "value": _masked_text(value.get("value"))}
    if kind == "pickle":
        return {**value, "value": MASK}
    return {key: MASK if is_secret(key) else masked(item) for key, item in value.items()}


def named_arguments(func: str, args: Any, kwargs: Any) -> list[tuple[str, Any]]:
    """Return the arguments of a job as pairs of name and masked value.

    Positional arguments get the names of the parameters, if the function can be imported.
    """
    positional = args if isinstance(args, list) else [args]
    keyword = kwargs if isinstance(kwargs, dict) else {"**": kwargs}
    names = _parameter_names(func, len(positional))
    pairs = [*zip(names, positional, strict=True), *keyword.items()]
    return [(name, MASK if is_secret(name) else masked(value)) for name, value in pairs]


def _masked_pair(pair: Any) -> Any:
    if not isinstance(pair, list) or len(pair) != 2:
        return masked(pair)
    key, value = pair
    return [masked(key), MASK if is_secret(key) else masked(value)]


def _masked_text(text: Any) -> Any:
    """Return JSON inside a text, which is how deeply nested values are stored, without secrets."""
    try:
        return masked(json.loads(text))
    except (TypeError, ValueError):
        return MASK


def _parameter_names(func: str, count: int) -> list[str]:
    names: list[str] = []
    try:
        parameters = inspect.signature(resolve(func)).parameters.values()
    except (InvalidJobError, TypeError, ValueError):
        parameters = ()  # type: ignore[assignment]  # no names then
    for parameter in parameters:
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            break
        names.append(parameter.name)
    return [names[index] if index < len(names) else f"args[{index}]" for index in range(count)]
