"""A digest of what the code says of a job, made without finding out what that means.

To make a trigger, check the arguments and write both as JSON takes 100 microseconds a job; a digest
takes 3. So a scheduler finds in a moment which jobs were declared before in the same words.
Measured for the start with 100,000 declared jobs of which none has changed, in seconds: 12.4 to 0.7
on PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from inspect import signature
from types import FunctionType
from typing import Any

from async_apscheduler import __version__
from async_apscheduler.conf import get_settings
from async_apscheduler.exceptions import InvalidJobError
from async_apscheduler.models.limits import DIGEST_LENGTH
from async_apscheduler.models.loading import leads_to
from async_apscheduler.registry import Declaration, plain_bytes


class Digests:
    """Makes digests under the settings in force, and looks at each function once."""

    def __init__(self) -> None:
        settings = get_settings()
        rules = (__version__, settings.job_defaults, settings.time_zone, settings.serializer)
        self._rules = repr(rules)
        self._parameters: dict[str, str | None] = {}

    def of(self, declaration: Declaration) -> str:
        """Return the digest; "" if there is none, and the declaration must be looked into.

        Declarations of the same digest make the same columns, or the same error. There is none for
        values of other types than Python's plain ones, such as triggers and moments: only what
        their columns say is known to be the same in another process.
        """
        parameters = self._parameters_of(declaration.func, declaration.reference)
        if parameters is None:
            return ""
        said = plain_bytes(
            (
                *(self._rules, declaration.reference, parameters),
                *(declaration.trigger, dict(declaration.trigger_args)),
                *(declaration.args, declaration.kwargs, dict(declaration.options)),
            )
        )
        return "" if said is None else blake2b(said, digest_size=DIGEST_LENGTH // 2).hexdigest()

    def _parameters_of(self, func: Callable[..., Any], reference: str) -> str | None:
        """Return what arguments the function takes; None if a look at it is needed for each job."""
        if reference not in self._parameters:
            self._parameters[reference] = _parameters(func, reference)
        return self._parameters[reference]


def _parameters(func: Callable[..., Any], reference: str) -> str | None:
    if type(func) is not FunctionType or hasattr(func, "__signature__"):
        return None  # the arguments of a method include its instance
    try:
        if not leads_to(func, reference):
            return None
    except InvalidJobError:  # which a closer look will tell
        return None
    parameters = signature(func, follow_wrapped=False).parameters.values()
    return repr([(each.name, each.kind.name, each.default is each.empty) for each in parameters])
