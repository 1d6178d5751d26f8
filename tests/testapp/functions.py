"""Targets of function references: one of each kind that can, or cannot, be named."""

from __future__ import annotations

import functools
import os  # borrowed here, so that tests can try to reach it through this module
from collections.abc import Callable
from typing import Any

OS = os
NOT_CALLABLE = "just a text"


def plain(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what it was called with."""
    return args, kwargs


async def coroutine(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what it was called with."""
    return args, kwargs


def logged(func: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function the way most decorators do."""

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return wrapper


@logged
def decorated() -> str:
    """Return where it is."""
    return "inside the decorator"


@functools.lru_cache
def cached() -> str:
    """Return a text that is kept."""
    return "cached"


class Greeter:
    """Methods of each kind."""

    word = "hello"

    def greet(self, name: str = "you") -> str:
        """Return a greeting."""
        return f"{self.word} {name}"

    @staticmethod
    def shout(name: str) -> str:
        """Return a loud name."""
        return name.upper()

    @classmethod
    def introduce(cls) -> str:
        """Return the name of the class."""
        return cls.__name__

    class Inner:
        """A class inside a class."""

        @staticmethod
        def whisper(name: str) -> str:
            """Return a quiet name."""
            return name.lower()


class Child(Greeter):
    """Inherits every method."""


class Callme:
    """Its instances can be called, but have no name."""

    def __call__(self) -> str:
        return "called"


callable_instance = Callme()
anonymous = lambda: None  # noqa: E731  # the point of the name
partial_of_plain = functools.partial(plain, 1)


def make_nested() -> Callable[[], None]:
    """Return a function that exists only inside this one."""

    def nested() -> None:
        return None

    return nested
