"""The settings: one dict ``ASYNC_APSCHEDULER``, read into a typed, frozen object.

Use ``get_settings()`` at the moment of use, never at import: it follows ``override_settings``.
Every field of Settings is a key of the dict in capitals; durations are seconds (a number or a
``timedelta`` is accepted).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from async_apscheduler.conf._converters import CONVERTERS, did_you_mean, zone_of
from async_apscheduler.conf._settings import SETTING, JobDefaults, Retention, Settings
from async_apscheduler.exceptions import ConfigurationError

__all__ = ["SETTING", "JobDefaults", "Retention", "Settings", "get_settings"]


def get_settings() -> Settings:
    """Return the settings now in force.

    Raises ConfigurationError for unknown keys and wrong values, all of them in one message.
    """
    global _cached
    if _cached is None:
        _cached = _read(getattr(django_settings, SETTING, {}))
    return _cached


_cached: Settings | None = None


def _forget(*, setting: str, **_: object) -> None:
    global _cached
    if setting in (SETTING, "TIME_ZONE", "INSTALLED_APPS", "DATABASES"):
        _cached = None


setting_changed.connect(_forget)


def _read(raw: Any) -> Settings:
    if not isinstance(raw, Mapping):
        raise ConfigurationError(f"{SETTING} must be a dict, not {type(raw).__name__}.")
    known = {f.name.upper(): f.name for f in fields(Settings)}
    values: dict[str, Any] = {
        "time_zone": zone_of(django_settings.TIME_ZONE),
        "allowed_modules": _installed_packages(),
    }
    problems = []
    for key, value in raw.items():
        if key not in known:
            problems.append(f"{SETTING}[{key!r}] is unknown{did_you_mean(key, known)}")
            continue
        try:
            values[known[key]] = CONVERTERS[key](value)
        except (TypeError, ValueError, LookupError, OSError) as error:
            problems.append(f"{SETTING}[{key!r}]: {error}")
    if not problems:
        problems = _contradictions(Settings(**values))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return Settings(**values)


def _contradictions(settings: Settings) -> list[str]:
    problems = []
    if settings.database not in django_settings.DATABASES:
        names = ", ".join(repr(name) for name in django_settings.DATABASES)
        problems.append(
            f"{SETTING}['DATABASE'] is {settings.database!r}, but DATABASES has {names}."
        )
    if settings.node_timeout < 2 * settings.heartbeat_interval:
        problems.append(
            f"{SETTING}['NODE_TIMEOUT'] must be at least twice HEARTBEAT_INTERVAL, or one late "
            "heartbeat makes a healthy node count as lost."
        )
    return problems


def _installed_packages() -> tuple[str, ...]:
    from django.apps import apps

    apps.check_apps_ready()
    return tuple(config.name for config in apps.get_app_configs())
