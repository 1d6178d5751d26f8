"""The two Django settings of the admin, under the names that django-apscheduler gave them.

``APSCHEDULER_DATETIME_FORMAT``: how moments are written, as a format of Django's ``date`` filter.
Default: the DATETIME_FORMAT of the active language, with seconds.

``APSCHEDULER_RUN_NOW_TIMEOUT``: how many seconds the answer to "run now" waits for the results of
all selected jobs together; 0 answers at once. Default: 25.
"""

from __future__ import annotations

import math
import re
from typing import Any

from django.conf import settings
from django.utils import formats

from async_apscheduler.exceptions import ConfigurationError

RUN_NOW_TIMEOUT = 25.0
"""Seconds; proxies in front of Django commonly give up after 30."""

_MINUTES = re.compile(r"(?<!\\)([GgHh])([:.])i")


def datetime_format() -> str:
    """Return the format of moments. Raises ConfigurationError."""
    given = getattr(settings, "APSCHEDULER_DATETIME_FORMAT", None)
    if given is None:
        return with_seconds(formats.get_format("DATETIME_FORMAT"))
    if not isinstance(given, str):
        raise ConfigurationError(
            "APSCHEDULER_DATETIME_FORMAT must be a format of Django's date filter, such as "
            f"'Y-m-d H:i:s', not {given!r}."
        )
    return given


def with_seconds(datetime_format: str) -> str:
    """Return a format of Django's date filter that tells the seconds too."""
    spelled_out = re.sub(r"(?<!\\)P", "g:i a", datetime_format)
    return _MINUTES.sub(r"\1\2i\2s", spelled_out, count=1)


def run_now_timeout() -> float:
    """Return how many seconds to wait for results. Raises ConfigurationError."""
    given: Any = getattr(settings, "APSCHEDULER_RUN_NOW_TIMEOUT", RUN_NOW_TIMEOUT)
    is_number = isinstance(given, (int, float)) and not isinstance(given, bool)
    if not is_number or not math.isfinite(given) or given < 0:
        raise ConfigurationError(
            "APSCHEDULER_RUN_NOW_TIMEOUT must be a number of seconds, or 0 to answer without "
            f"waiting, not {given!r}."
        )
    return float(given)
