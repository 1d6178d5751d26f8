"""Triggers: made from APScheduler's words, kept as readable JSON, told in plain words.

All of APScheduler's triggers are used as they are, but for ``and`` (see BoundedAndTrigger);
``crontab`` is ours.
"""

from __future__ import annotations

from async_apscheduler.triggers._checking import MINIMUM_INTERVAL, check_pace, check_trigger
from async_apscheduler.triggers._combining import BoundedAndTrigger
from async_apscheduler.triggers._creating import create_trigger
from async_apscheduler.triggers._due import DueTimes, fire_times
from async_apscheduler.triggers._from_json import trigger_from_json
from async_apscheduler.triggers._to_json import trigger_to_json
from async_apscheduler.triggers._words import describe_trigger
from async_apscheduler.triggers.crontab import CrontabTrigger

__all__ = [
    "MINIMUM_INTERVAL",
    "BoundedAndTrigger",
    "CrontabTrigger",
    "DueTimes",
    "check_pace",
    "check_trigger",
    "create_trigger",
    "describe_trigger",
    "fire_times",
    "trigger_from_json",
    "trigger_to_json",
]
