"""Time zones by name, and moments as text that keeps zone, fold and microseconds."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, tzinfo
from zoneinfo import ZoneInfo

from apscheduler.util import convert_to_datetime

from async_apscheduler.conf import get_settings
from async_apscheduler.exceptions import InvalidTriggerError

_OFFSET = re.compile(r"[+-]\d\d:\d\d(:\d\d(\.\d{1,6})?)?")


def in_utc(moment: datetime) -> datetime:
    """Return `moment` in UTC.

    Python compares and subtracts two datetimes of one zone by the clock on the wall, which is wrong
    by an hour when the clocks are set back; so all arithmetic here is done in UTC.
    """
    return moment.astimezone(UTC)


def on_the_clock(moment: datetime) -> datetime:
    """Return `moment` as a clock on the wall shows it.

    Where clocks are set forward, APScheduler's cron trigger returns times in the hour that they
    leave out. Such a time equals one an hour later, but does not look like it.
    """
    return moment if moment.tzinfo is UTC else in_utc(moment).astimezone(moment.tzinfo)


def zone_name(zone: tzinfo | None) -> str:
    """Return the name under which zone_from_name() finds `zone`: "Europe/Helsinki", "+02:00".

    Raises InvalidTriggerError for a zone that has none.
    """
    key = getattr(zone, "key", None) or getattr(zone, "zone", None)  # zoneinfo; pytz
    if isinstance(key, str) and _is_known(key):
        return key
    if zone is not None and key is None and zone.utcoffset(None) is not None:
        offset = datetime(2000, 1, 1, tzinfo=zone).isoformat()[len("2000-01-01T00:00:00") :]
        return "UTC" if offset == "+00:00" else offset
    raise InvalidTriggerError(
        f"The time zone {zone!r} of a trigger cannot be stored, since it has no name that another "
        "process could look up. Use zoneinfo.ZoneInfo('Area/City') or its name."
    )


def zone_from_name(name: object) -> tzinfo:
    """Return the time zone of a name. Raises InvalidTriggerError if there is none."""
    if name == "UTC":
        return UTC
    if isinstance(name, str):
        try:
            if _OFFSET.fullmatch(name):
                return datetime.fromisoformat(f"2000-01-01T00:00:00{name}").tzinfo or UTC
            return ZoneInfo(name)
        except (LookupError, ValueError, OSError):
            pass  # told below
    raise InvalidTriggerError(
        f"{name!r} is not the name of a time zone. Use a name such as 'Europe/Helsinki', 'UTC' or "
        "'+02:00'."
    )


def moment_to_text(moment: datetime) -> str:
    """Return an aware datetime in ISO format; its offset tells the fold."""
    if moment.tzinfo is None:
        raise InvalidTriggerError(
            f"{moment.isoformat()} has no time zone, so it cannot be stored in a trigger."
        )
    return moment.isoformat()


def moment_from_text(text: object, zone: tzinfo | None) -> datetime:
    """Return the moment that a text names, in `zone` if the clock there shows what the text says.

    A text without an offset is the time on the wall in `zone`, by default the TIME_ZONE of the
    settings. One whose offset is not that of `zone` keeps its own. Raises InvalidTriggerError.
    """
    try:
        moment = datetime.fromisoformat(text)  # type: ignore[arg-type]  # that is the test
    except (TypeError, ValueError):
        raise InvalidTriggerError(
            f"{text!r} is not a time of a trigger. Write it in ISO format: "
            "'2026-01-31T08:30:00+02:00'."
        ) from None
    if moment.tzinfo is None:
        zone = zone or get_settings().time_zone
        return convert_to_datetime(moment, zone, "date")  # type: ignore[no-any-return]  # untyped
    for fold in (0, 1) if zone is not None else ():
        local = moment.replace(tzinfo=zone, fold=fold)
        if local.utcoffset() == moment.utcoffset():
            return local
    return moment


def day_from_text(text: object) -> date:
    """Return the date that a text names. Raises InvalidTriggerError."""
    try:
        return date.fromisoformat(text)  # type: ignore[arg-type]  # that is the test
    except (TypeError, ValueError):
        raise InvalidTriggerError(
            f"{text!r} is not a date of a trigger. Write it in ISO format: '2026-01-31'."
        ) from None


def _is_known(key: str) -> bool:
    try:
        ZoneInfo(key)
    except (LookupError, ValueError, OSError):
        return False
    return True
