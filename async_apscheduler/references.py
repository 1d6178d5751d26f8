"""Function references: ``"package.module:name"`` strings, checked before anything is imported.

A row can name any function, and whoever may edit a row may name it; so a reference is followed
only into the packages of ``ALLOWED_MODULES``, and only to what is defined there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from inspect import isclass, ismethod
from typing import Any

from async_apscheduler.conf import SETTING, get_settings
from async_apscheduler.exceptions import (
    InvalidJobError,
    ReferenceNotAllowedError,
    UnresolvableReferenceError,
)


def reference_to(func: Callable[..., Any]) -> str:
    """Return the reference of a function, a class or a method, as APScheduler writes it.

    A bound method gives the name under its class; its instance is not part of the reference.
    Raises InvalidJobError for what has no name that another process could import.
    """
    if isinstance(func, partial):
        raise InvalidJobError(
            f"A partial has no name that another process could import: {_named(func.func)}. "
            "Schedule the function itself and pass the arguments as args and kwargs."
        )
    module, name = _home_of(func)
    if "<lambda>" in name:
        raise InvalidJobError(
            f"A lambda has no name that another process could import ({name} in {module}). "
            "Write it as a function at the top level of a module."
        )
    if "<locals>" in name:
        raise InvalidJobError(
            f"{name} in {module} is defined inside a function, where another process cannot "
            "import it. Move it to the top level of the module."
        )
    if module == "__main__":
        raise InvalidJobError(
            f"{name} is defined in the script that was started, which other processes know by "
            "another name. Move it to a module that can be imported, such as the jobs.py of an app."
        )
    return f"{module}:{name}"


def check_allowed(reference: str) -> None:
    """Raise unless `reference` is well-formed and lies in an allowed module; import nothing.

    Raises InvalidJobError for bad syntax, ReferenceNotAllowedError for the rest.
    """
    module, names = _split(reference)
    for name in (*module.split("."), *names):
        if name.startswith("__"):
            raise ReferenceNotAllowedError(
                f"The reference {reference!r} is not allowed: {name!r} is internal to Python. "
                "Name a function of a module."
            )
    if not _is_allowed(module):
        raise ReferenceNotAllowedError(
            f"The reference {reference!r} is not allowed: {module!r} lies outside the packages "
            f"that jobs may be taken from. {_way_in(module)}"
        )


def resolve(reference: str) -> Callable[..., Any]:
    """Return what `reference` names, imported if need be.

    Raises what check_allowed() raises, before any import; ReferenceNotAllowedError also if what it
    leads to is only borrowed from a module that is not allowed; UnresolvableReferenceError if it
    leads nowhere.
    """
    check_allowed(reference)
    module, names = _split(reference)
    found = _walk(reference, _imported(reference, module), names)
    if not callable(found):
        raise UnresolvableReferenceError(
            f"{reference!r} leads to {_article(type(found).__name__)}, which cannot be called. "
            "Name a function."
        )
    home = getattr(found, "__module__", None)
    if not isinstance(home, str) or not _is_allowed(home):
        raise ReferenceNotAllowedError(
            f"The reference {reference!r} is not allowed: what it names is defined in {home!r}, "
            f"which lies outside the packages that jobs may be taken from. {_way_in(home)}"
        )
    return found  # type: ignore[no-any-return]  # seen to be callable


def _split(reference: str) -> tuple[str, list[str]]:
    if not isinstance(reference, str) or reference.count(":") != 1:
        raise InvalidJobError(
            f"{reference!r} is not a function reference. Write it as 'package.module:name'."
        )
    module, _, name = reference.partition(":")
    names = name.split(".")
    if not all(part.isidentifier() for part in (*module.split("."), *names)):
        raise InvalidJobError(
            f"{reference!r} is not a function reference: each part must be a Python name. Write it "
            "as 'package.module:name', with dots inside a class only: 'package.module:Class.name'."
        )
    return module, names


def _is_allowed(module: str) -> bool:
    allowed = get_settings().allowed_modules
    if allowed == "*":
        return True
    return any(module == package or module.startswith(f"{package}.") for package in allowed)


def _imported(reference: str, module: str) -> Any:
    try:
        return import_module(module)
    except (Exception, SystemExit) as error:  # a module may do anything, also exit
        raise UnresolvableReferenceError(
            f"{reference!r} cannot be used: importing {module!r} failed with "
            f"{_told(error)}. Correct the module, or the reference if it has moved."
        ) from error


def _walk(reference: str, found: Any, names: list[str]) -> Any:
    for name in names:
        try:
            found = getattr(found, name)
        except Exception as error:  # a property or a module's __getattr__ may raise anything
            raise UnresolvableReferenceError(
                f"{reference!r} leads nowhere: looking up {name!r} failed with {_told(error)}. "
                "Correct the reference, or bring the function back under its name."
            ) from error
    return found


def _home_of(func: Any) -> tuple[str, str]:
    """Return the module and the qualified name that APScheduler would write for `func`."""
    if ismethod(func):
        owner = func.__self__ if isclass(func.__self__) else type(func.__self__)
        return owner.__module__, f"{owner.__qualname__}.{func.__name__}"
    module, name = getattr(func, "__module__", None), getattr(func, "__qualname__", None)
    if not callable(func) or not isinstance(module, str) or not isinstance(name, str):
        raise InvalidJobError(
            f"{_article(type(func).__name__)} has no name that another process could import. "
            "Schedule a function at the top level of a module, or a method of a class."
        )
    return module, name


def _told(error: BaseException) -> str:
    """Return the type and the text of an error of the user's code, whose text may itself fail."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def _named(func: Any) -> str:
    return getattr(func, "__qualname__", None) or type(func).__name__


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeio' else 'a'} {noun}"


def _way_in(module: object) -> str:
    return (
        f'Add {module!r} to {SETTING}["ALLOWED_MODULES"] if you trust it; the list, once given, '
        "replaces its default, the installed apps."
    )
