"""Values of jobs and runs as JSON, and back, exactly.

A value that JSON has a form for stays itself. Any other value that a job may need becomes
``{"$type": ..., "value": ...}``: dates and times with their zone, ``timedelta``, ``Decimal``,
``UUID``, ``bytes``, tuples, sets, and the numbers, texts and dicts that some database would change.
What is left is refused with the ways out, or pickled and signed where the setting says so. Only the
order of the keys of a plain dict is not kept: PostgreSQL and MySQL have one of their own.
"""

from __future__ import annotations

from async_apscheduler.codec._arguments import (
    MAX_ARGUMENTS_BYTES,
    decode_arguments,
    decode_value,
    encode_arguments,
    encode_value,
    may_change,
)
from async_apscheduler.codec._results import encode_result
from async_apscheduler.codec._text import safe_text

__all__ = [
    "MAX_ARGUMENTS_BYTES",
    "decode_arguments",
    "decode_value",
    "encode_arguments",
    "encode_result",
    "encode_value",
    "may_change",
    "safe_text",
]
