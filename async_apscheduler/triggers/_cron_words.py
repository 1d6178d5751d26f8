"""APScheduler's cron trigger in words: those of a crontab line, and what no such line can say."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from apscheduler.triggers.cron.expressions import (
    AllExpression,
    LastDayOfMonthExpression,
    RangeExpression,
    WeekdayPositionExpression,
)
from django.utils.translation import gettext as _

from async_apscheduler.triggers.crontab import explain

CRONTAB_FIELDS = ("minute", "hour", "day", "month", "day_of_week")
EVERY_MINUTE = "* * * * *"
DAYS_OF_WEEK = 7
LAST = 5
"""What WeekdayPositionExpression has for the last one of a month."""

_LONG_MONTH = datetime(2000, 1, 31)


def cron_in_words(trigger: Any) -> str:
    """Return what the fields of a cron trigger say; as they are spelled if there are no words."""
    fields = {field.name: field for field in trigger.fields}
    line, more = as_crontab(fields), _beyond_crontab(fields)
    if line is None or more is None:
        spelled = (f"{name}={field}" for name, field in fields.items() if not field.is_default)
        return f"cron: {', '.join(spelled)}"
    parts = [*_seconds(fields["second"]), *more]
    if line != EVERY_MINUTE or not _divides_a_minute(fields["second"]):
        parts.insert(0, explain(line))
    return ", ".join(parts)


def as_crontab(fields: dict[str, Any]) -> str | None:
    """Return minute, hour, day, month and weekday as a crontab line; None if there is none."""
    texts = {name: _plain(fields[name]) for name in CRONTAB_FIELDS}
    position = _weekday_position(fields["day"])
    if position is not None and str(fields["day_of_week"]) == "*":
        texts["day"], texts["day_of_week"] = "*", position
    if None in texts.values():
        return None
    if texts["day"] != "*" and texts["day_of_week"] != "*":
        texts["day"] = "*"  # both must fit here, either one in a crontab; see _beyond_crontab()
    return " ".join(map(str, texts.values()))


def _beyond_crontab(fields: dict[str, Any]) -> list[str] | None:
    """Return what a crontab line cannot say; None if there are no words for it."""
    parts = []
    day, weekday, week, year = (fields[name] for name in ("day", "day_of_week", "week", "year"))
    for field, is_said, words in (
        (day, str(weekday) == "*", _("if that is day %(numbers)s of the month")),
        (week, False, _("in week %(numbers)s of the year")),
        (year, False, _("in %(numbers)s")),
    ):
        if is_said or str(field) == "*":
            continue
        if not _is_numbers(field):
            return None
        parts.append(words % {"numbers": str(field).replace(",", ", ")})
    return parts


def _seconds(field: Any) -> list[str]:
    text = str(field)
    if text == "0":
        return []
    if text == "*":
        return [_("every second")]
    step = _step(field)
    if step is not None:
        return [_("every %(count)s seconds") % {"count": step}]
    return [_("at second %(numbers)s") % {"numbers": text.replace(",", ", ")}]


def _step(field: Any) -> int | None:
    """Return 10 for */10."""
    if len(field.expressions) != 1 or type(field.expressions[0]) is not AllExpression:
        return None
    step: int | None = field.expressions[0].step
    return step


def _divides_a_minute(field: Any) -> bool:
    """Return True for seconds that follow each other alike from one minute into the next."""
    step = _step(field)
    return str(field) == "*" or (step is not None and 60 % step == 0)


def _is_numbers(field: Any) -> bool:
    return all(
        type(expression) is RangeExpression and not expression.step
        for expression in field.expressions
    )


def _weekday_position(day: Any) -> str | None:
    """Return "5#2" for the day "2nd fri", and "5L" for "last fri"."""
    first = day.expressions[0]
    if len(day.expressions) != 1 or not isinstance(first, WeekdayPositionExpression):
        return None
    weekday = (first.weekday + 1) % DAYS_OF_WEEK
    return f"{weekday}L" if first.option_num == LAST else f"{weekday}#{first.option_num + 1}"


def _plain(field: Any) -> str | None:
    """Return the expressions of a field as crontab writes them; None if it cannot."""
    shift = 1 if field.name == "day_of_week" else 0  # APScheduler counts from Monday as 0
    parts = []
    for expression in field.expressions:
        if type(expression) is AllExpression and not (shift and expression.step):
            parts.append(str(expression))
        elif type(expression) is LastDayOfMonthExpression:
            return "L" if len(field.expressions) == 1 else None
        elif isinstance(expression, RangeExpression):
            last = field.get_max(_LONG_MONTH) if expression.last is None else expression.last
            text = str(expression.first + shift)
            if last != expression.first:
                text += f"-{last + shift}"
            parts.append(text + (f"/{expression.step}" if expression.step else ""))
        else:
            return None
    return ",".join(parts)
