"""From the words that a user gives to a trigger."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from inspect import signature
from typing import Any

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from async_apscheduler.exceptions import InvalidTriggerError
from async_apscheduler.triggers._combining import BoundedAndTrigger
from async_apscheduler.triggers._spelling import did_you_mean
from async_apscheduler.triggers._to_json import checked_jitter
from async_apscheduler.triggers.crontab import CrontabTrigger

_CLASSES: dict[str, type[BaseTrigger]] = {
    "date": DateTrigger,
    "interval": IntervalTrigger,
    "cron": CronTrigger,
    "crontab": CrontabTrigger,
    "calendarinterval": CalendarIntervalTrigger,
    "and": BoundedAndTrigger,
    "or": OrTrigger,
}
_PARAMETERS = {
    alias: [name for name in signature(kind.__init__).parameters if name != "self"]
    for alias, kind in _CLASSES.items()
}


def create_trigger(
    trigger: str | BaseTrigger | None, trigger_args: Mapping[str, Any], *, timezone: tzinfo
) -> BaseTrigger:
    """Return the trigger that APScheduler's words ask for.

    `trigger` is an alias, a trigger, or None for one run (at once, if `run_date` is not given);
    `trigger_args` are the arguments of the alias' class; `timezone` is the zone where they name
    none. Raises InvalidTriggerError.
    """
    if isinstance(trigger, BaseTrigger):
        if trigger_args:
            raise InvalidTriggerError(
                f"The arguments {', '.join(trigger_args)} have no effect beside a trigger object. "
                "Give them to its class."
            )
        return trigger
    alias = "date" if trigger is None else trigger
    if not isinstance(alias, str):
        raise InvalidTriggerError(
            f"A trigger must be an alias such as 'cron' or a trigger of APScheduler, not {alias!r}."
        )
    if alias not in _CLASSES:
        raise InvalidTriggerError(
            f"There is no trigger {alias!r}{did_you_mean(alias, list(_CLASSES))}"
        )
    return _created(alias, dict(trigger_args), timezone)


def _created(alias: str, arguments: dict[str, Any], timezone: tzinfo) -> BaseTrigger:
    parameters = _PARAMETERS[alias]
    for name in arguments:
        if name not in parameters:
            raise InvalidTriggerError(
                f"{name!r} is not an argument of the trigger {alias!r}"
                f"{did_you_mean(name, parameters)}"
            )
    if "timezone" in parameters and arguments.get("timezone") is None:
        arguments["timezone"] = timezone
    if arguments.get("jitter") is not None:
        checked_jitter(arguments["jitter"])
    if "triggers" in parameters:
        _check_parts(alias, arguments.get("triggers"))
    try:
        return _CLASSES[alias](**arguments)
    except InvalidTriggerError:
        raise
    except (TypeError, ValueError, LookupError, ArithmeticError, OSError) as error:
        raise InvalidTriggerError(
            f"The arguments of the trigger {alias!r} are wrong: {_said(error)}."
        ) from error


def _check_parts(alias: str, parts: Any) -> None:
    right = isinstance(parts, (list, tuple)) and len(parts) > 0
    if not right or not all(isinstance(part, BaseTrigger) for part in parts):
        raise InvalidTriggerError(
            f"The trigger {alias!r} takes triggers=[...], a list of triggers such as "
            "CronTrigger(hour=3)."
        )


def _said(error: Exception) -> str:
    """Return the text of an error; that of a KeyError, such as an unknown zone, is its argument."""
    text = str(error.args[0]) if isinstance(error, LookupError) and error.args else str(error)
    return text.rstrip(".").replace("__init__() ", "")
