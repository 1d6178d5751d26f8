"""What every database can keep of a job; the rest is refused before it reaches one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from async_apscheduler import codec
from async_apscheduler.exceptions import InvalidJobError, InvalidJobIdError

MAX_ID_LENGTH = 255
MAX_NAME_LENGTH = 255
MAX_EXECUTOR_LENGTH = 255
MAX_REFERENCE_LENGTH = 500
DIGEST_LENGTH = 32
MAX_INTEGER = 2**31 - 1
"""The highest number that every database keeps in an integer column."""


def is_storable(text: str) -> bool:
    """Return False for a text with a NUL or half a surrogate pair, which no database can hold."""
    return codec.safe_text(text, len(text)) == text


def check_job_id(job_id: str) -> None:
    """Raise InvalidJobIdError unless every database can keep `job_id` exactly."""
    if not isinstance(job_id, str) or not job_id:
        raise InvalidJobIdError(
            f"The id of a job must be a text that is not empty, not {job_id!r}."
        )
    if len(job_id) > MAX_ID_LENGTH:
        raise InvalidJobIdError(
            f"The job id {job_id[:40]!r}... has {len(job_id)} characters; at most "
            f"{MAX_ID_LENGTH} can be stored. Use a shorter one, for example a hash of it."
        )
    if not is_storable(job_id):
        raise InvalidJobIdError(
            f"The job id {job_id!r} contains a NUL or half a surrogate pair, which databases "
            "cannot store. Remove it."
        )


def check_numbers(job_id: str, values: Mapping[str, Any]) -> None:
    """Raise InvalidJobError for an option whose number is too high for some database."""
    for name in ("max_instances", "misfire_grace_time", "max_attempts"):
        if (values.get(name) or 0) > MAX_INTEGER:
            raise InvalidJobError(
                f"The option {name} of job {job_id!r} is {values[name]:,}; at most "
                f"{MAX_INTEGER:,} can be stored."
            )


def check_text(job_id: str, option: str, text: str, limit: int) -> None:
    """Raise InvalidJobError unless an option is a text of at most `limit` storable characters."""
    if len(text) > limit:
        raise InvalidJobError(
            f"The {option} of job {job_id!r} has {len(text)} characters; at most {limit} can be "
            "stored."
        )
    if not is_storable(text):
        raise InvalidJobError(
            f"The {option} of job {job_id!r} contains a NUL or half a surrogate pair, which "
            "databases cannot store. Remove it."
        )


def moment_in_utc(job_id: str, moment: datetime | None) -> datetime | None:
    """Return `moment` in UTC, where two moments an hour apart never look the same.

    Raises InvalidJobError if UTC cannot name it.
    """
    try:
        return None if moment is None else moment.astimezone(UTC)
    except OverflowError:
        raise InvalidJobError(
            f"The next run time of job {job_id!r}, {moment}, lies outside of the years 1 to 9999 "
            "in UTC."
        ) from None
