"""Declarations in code: what the decorators keep, and what they refuse."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from apscheduler.triggers.cron import CronTrigger
from django.test import override_settings

import async_apscheduler
from async_apscheduler import job, scheduled_job
from async_apscheduler.exceptions import InvalidJobError, InvalidJobIdError, InvalidTriggerError
from async_apscheduler.registry import Declaration, registry
from tests.testapp.functions import Greeter, anonymous, coroutine, make_nested, plain

PLAIN = "tests.testapp.functions:plain"
COROUTINE = "tests.testapp.functions:coroutine"


@pytest.fixture(autouse=True)
def empty_registry() -> Iterator[None]:
    """Let no declaration of a test outlive it."""
    with registry.isolated():
        yield


def only() -> Declaration:
    """Return the one declaration there is."""
    (declaration,) = registry.declarations()
    return declaration


def test_a_declaration_holds_what_was_written() -> None:
    """The function itself stays as it is."""
    decorated = scheduled_job("cron", hour=3, minute=30, id="nightly", args=[1], name="Night")(
        coroutine
    )

    assert decorated is coroutine
    assert only() == Declaration(
        id="nightly",
        reference=COROUTINE,
        func=coroutine,
        trigger="cron",
        trigger_args={"hour": 3, "minute": 30},
        args=(1,),
        kwargs=None,
        options={"name": "Night"},
    )


def test_the_id_is_by_default_the_reference_of_the_function() -> None:
    """It says where the job comes from, and stays the same."""
    scheduled_job("interval", minutes=5)(Greeter.shout)

    assert only().id == only().reference == "tests.testapp.functions:Greeter.shout"


def test_only_options_that_were_given_are_kept() -> None:
    """Defaults are those of the settings at the moment of use."""
    scheduled_job("interval", minutes=5)(plain)

    assert only().options == {}


def test_a_trigger_may_be_an_object() -> None:
    """Then it is kept as it is."""
    trigger = CronTrigger(hour=3)

    scheduled_job(trigger)(plain)

    assert only().trigger is trigger
    assert only().trigger_args == {}


@pytest.mark.parametrize("by_name", [False, True])
def test_crontab_takes_its_expression_second_or_by_name(by_name: bool) -> None:
    """The line stands where one reads it."""
    line = "30 3 * * mon-fri"
    decorate = (
        scheduled_job("crontab", expression=line, timezone="Europe/Helsinki")
        if by_name
        else scheduled_job("crontab", line, timezone="Europe/Helsinki")
    )

    decorate(plain)

    assert only().trigger == "crontab"
    assert only().trigger_args == {"expression": line, "timezone": "Europe/Helsinki"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"name": "Night", "executor": "cpu"}, {"name": "Night", "executor": "cpu"}),
        ({"coalesce": False, "max_instances": 3}, {"coalesce": False, "max_instances": 3}),
        ({"misfire_grace_time": 60}, {"misfire_grace_time": 60}),
        ({"misfire_grace_time": timedelta(minutes=1)}, {"misfire_grace_time": 60}),
        ({"misfire_grace_time": None}, {"misfire_grace_time": None}),
        ({"next_run_time": None}, {"next_run_time": None}),
        (
            {"next_run_time": datetime(2026, 1, 1, tzinfo=UTC)},
            {"next_run_time": datetime(2026, 1, 1, tzinfo=UTC)},
        ),
        ({"timeout": 30}, {"timeout": 30.0}),
        ({"timeout": timedelta(minutes=1.5)}, {"timeout": 90.0}),
        ({"timeout": None}, {"timeout": None}),
        ({"max_attempts": 5, "retry_delay": 0}, {"max_attempts": 5, "retry_delay": 0.0}),
        ({"retry_delay": timedelta(seconds=2)}, {"retry_delay": 2.0}),
        ({"retry_on_lost": True}, {"retry_on_lost": True}),
    ],
    ids=str,
)
def test_options_are_kept_as_a_row_keeps_them(given: dict[str, Any], kept: dict[str, Any]) -> None:
    """Durations in seconds."""
    scheduled_job("interval", minutes=5, **given)(plain)

    assert only().options == kept
    assert {name: type(value) for name, value in only().options.items()} == {
        name: type(value) for name, value in kept.items()
    }


@pytest.mark.parametrize(
    ("given", "args", "kwargs"),
    [
        ({"args": (1, 2), "kwargs": {"a": 1}}, (1, 2), {"a": 1}),
        ({"args": [], "kwargs": {}}, (), {}),
        ({}, None, None),
    ],
    ids=str,
)
def test_arguments_are_kept_as_a_tuple_and_a_dict(
    given: dict[str, Any], args: Any, kwargs: Any
) -> None:
    """None says that there were none."""
    scheduled_job("interval", minutes=5, **given)(plain)

    assert (only().args, only().kwargs, only().options) == (args, kwargs, {})


def test_declarations_share_what_they_say_alike() -> None:
    """Loops declare 100,000 jobs; but what only compares equal stays as it was written."""
    for number, hours in enumerate([1, 1, 1.0, True]):
        scheduled_job("interval", hours=hours, id=str(number), timeout=5)(plain)

    first, *others = registry.declarations()
    assert others[0].trigger_args is first.trigger_args
    assert all(each.options is first.options for each in others)
    written = [each.trigger_args["hours"] for each in [first, *others]]
    assert list(map(type, written)) == [int, int, float, bool]


@pytest.mark.parametrize(
    ("option", "value", "wish"),
    [
        ("args", "abc", "a list or a tuple of arguments"),
        ("args", 5, "a list or a tuple of arguments"),
        ("args", {"a": 1}, "a list or a tuple of arguments"),
        ("kwargs", [("a", 1)], "a dict of arguments by name"),
        ("kwargs", {1: 2}, "a dict of arguments by name"),
        ("name", "", "a text that is not empty"),
        ("name", 5, "a text that is not empty"),
        ("executor", None, "a text that is not empty"),
        ("coalesce", 1, "True or False"),
        ("max_instances", 0, "a whole number of at least 1"),
        ("max_instances", True, "a whole number of at least 1"),
        ("max_instances", 1.5, "a whole number of at least 1"),
        ("misfire_grace_time", 0, "a whole number of seconds of at least 1"),
        ("misfire_grace_time", 1.5, "a whole number of seconds of at least 1"),
        ("misfire_grace_time", "60", "a whole number of seconds of at least 1"),
        ("next_run_time", "2026-01-01", "a datetime, or None"),
        ("timeout", 0, "a positive number of seconds"),
        ("timeout", -1, "a positive number of seconds"),
        ("timeout", "30", "a positive number of seconds"),
        ("timeout", True, "a positive number of seconds"),
        ("timeout", float("nan"), "a positive number of seconds"),
        ("timeout", float("inf"), "a positive number of seconds"),
        ("max_attempts", 0, "a whole number of at least 1"),
        ("retry_delay", -0.1, "a number of seconds or a timedelta, and not negative"),
        ("retry_delay", None, "a number of seconds or a timedelta, and not negative"),
        ("retry_on_lost", "yes", "True or False"),
    ],
)
def test_a_wrong_option_is_refused_where_it_is_written(option: str, value: Any, wish: str) -> None:
    """By both decorators, with the name, the wish and the value."""
    decorators: list[Callable[..., Any]] = [lambda **given: scheduled_job("interval", **given)]
    if option not in ("args", "kwargs", "next_run_time"):
        decorators.append(job)

    for decorator in decorators:
        with pytest.raises(InvalidJobError) as caught:
            decorator(**{option: value})

        assert f"The option {option} of a job must be {wish}" in str(caught.value)
        assert repr(value) in str(caught.value)


def test_a_function_may_have_many_jobs() -> None:
    """Each with an id of its own, in the order in which they are applied."""
    scheduled_job("cron", hour=3, id="night")(scheduled_job("cron", hour=15, id="day")(plain))

    assert [declaration.id for declaration in registry.declarations()] == ["day", "night"]


def test_two_functions_may_not_share_an_id() -> None:
    """Both are named."""
    scheduled_job("cron", hour=3, id="nightly")(plain)

    with pytest.raises(InvalidJobError) as caught:
        scheduled_job("cron", hour=4, id="nightly")(coroutine)

    assert PLAIN in str(caught.value)
    assert COROUTINE in str(caught.value)
    assert only().reference == PLAIN


def test_two_jobs_of_a_function_may_not_share_an_id() -> None:
    """Or the second would quietly take the place of the first."""
    scheduled_job("cron", hour=3)(plain)

    with pytest.raises(InvalidJobError, match="an id of its own"):
        scheduled_job("cron", hour=15)(plain)


def test_a_reloaded_module_replaces_its_declarations() -> None:
    """The function is a new one, under the same name."""

    def reload(hour: int) -> Callable[[], None]:
        module = ModuleType("tests.testapp.reloaded")
        module.__dict__.update(scheduled_job=scheduled_job, hour=hour)
        exec("@scheduled_job('cron', hour=hour)\ndef nightly(): ...", module.__dict__)
        return module.nightly  # type: ignore[no-any-return]  # made by exec

    reload(3)
    function = reload(4)

    assert only().trigger_args == {"hour": 4}
    assert only().func is function


@pytest.mark.parametrize("func", [anonymous, make_nested()])
@pytest.mark.parametrize("decorator", [scheduled_job("interval", minutes=5), job, job(timeout=5)])
def test_a_function_without_a_reference_cannot_be_declared(decorator: Any, func: Any) -> None:
    """No other process could find it."""
    with pytest.raises(InvalidJobError, match="top level"):
        decorator(func)


@pytest.mark.parametrize("id_", ["", 5, b"x"])
def test_an_id_must_be_a_text(id_: Any) -> None:
    """It becomes the primary key of a row."""
    with pytest.raises(InvalidJobIdError):
        scheduled_job("cron", hour=3, id=id_)


def test_the_decorator_without_its_trigger_tells_how_it_is_used() -> None:
    """`@scheduled_job` alone is an easy slip."""
    with pytest.raises(InvalidTriggerError, match=r'as in @scheduled_job\("interval", minutes=5\)'):
        scheduled_job(plain)  # the slip


@pytest.mark.parametrize("trigger", ["cron", CronTrigger(hour=3)])
def test_only_crontab_takes_an_expression(trigger: Any) -> None:
    """The second argument of another trigger would be guesswork."""
    with pytest.raises(InvalidTriggerError, match="Only the trigger 'crontab' takes an expression"):
        scheduled_job(trigger, "3")


def test_the_signature_tells_what_is_not_given_from_none() -> None:
    """Editors show it."""
    assert "timeout: 'float | timedelta | None' = UNSET" in str(inspect.signature(scheduled_job))


def test_job_takes_options_only() -> None:
    """Its arguments have names."""
    with pytest.raises(InvalidJobError, match=r"@job\(timeout=30\)"):
        job(30)  # type: ignore[call-overload]  # the slip


def test_a_decorated_function_has_its_options() -> None:
    """With or without parentheses, asked by the function or by its reference."""
    assert job(timeout=30, max_attempts=5)(plain) is plain
    assert job(coroutine) is coroutine

    assert registry.options_of(plain) == {"timeout": 30.0, "max_attempts": 5}
    assert registry.options_of(PLAIN) == {"timeout": 30.0, "max_attempts": 5}
    assert registry.options_of(coroutine) == {}


@pytest.mark.parametrize("func", [Greeter().greet, anonymous, 5, "tests.testapp:unknown"])
def test_any_other_function_has_none(func: Any) -> None:
    """Whether it could be a job is for others to say."""
    assert registry.options_of(func) == {}


def test_options_of_a_caller_are_its_own() -> None:
    """Changing them changes nothing here."""
    job(timeout=30)(plain)

    registry.options_of(plain)["timeout"] = 1

    assert registry.options_of(plain) == {"timeout": 30.0}


@pytest.mark.parametrize("outermost", ["job", "scheduled_job"])
def test_the_options_of_a_declaration_go_before_those_of_its_function(outermost: str) -> None:
    """In whatever order the decorators stand."""
    decorators = [
        job(timeout=30, max_attempts=5),
        scheduled_job("cron", hour=3, timeout=60, name="Night"),
    ]
    if outermost == "job":
        decorators.reverse()

    for decorator in decorators:
        decorator(plain)

    assert only().options == {"timeout": 60.0, "max_attempts": 5, "name": "Night"}


def test_all_decorated_functions_are_offered() -> None:
    """Each once, for the form in the admin."""
    job(plain)
    scheduled_job("cron", hour=3, id="a")(plain)
    scheduled_job("cron", hour=3, id="b")(coroutine)

    assert registry.functions() == [COROUTINE, PLAIN]


def test_a_registry_can_be_isolated_and_cleared() -> None:
    """For tests; the former content comes back even after an error."""
    job(timeout=30)(plain)
    scheduled_job("cron", hour=3, id="outside")(plain)

    def fail_inside() -> None:
        with registry.isolated() as inside:
            assert inside.declarations() == []
            scheduled_job("cron", hour=3, id="inside")(coroutine)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()

    assert only().id == "outside"
    assert registry.options_of(plain) == {"timeout": 30.0}

    registry.clear()

    assert registry.declarations() == []
    assert registry.functions() == []


def test_the_jobs_of_every_app_are_discovered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each `jobs.py` is imported once; an app without one is no mistake."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "discovered_app").mkdir()
    (tmp_path / "discovered_app" / "__init__.py").touch()
    (tmp_path / "discovered_app" / "jobs.py").write_text(
        "from async_apscheduler import scheduled_job\n\n"
        '@scheduled_job("interval", minutes=5)\nasync def tidy(): ...\n'
    )

    with override_settings(INSTALLED_APPS=["async_apscheduler", "discovered_app"]):
        registry.autodiscover()
        registry.autodiscover()

    assert only().id == "discovered_app.jobs:tidy"
    monkeypatch.delitem(sys.modules, "discovered_app.jobs")
    monkeypatch.delitem(sys.modules, "discovered_app")


def test_an_error_in_the_jobs_of_an_app_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduler that starts with half of its jobs would look healthy."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_app").mkdir()
    (tmp_path / "broken_app" / "__init__.py").touch()
    (tmp_path / "broken_app" / "jobs.py").write_text("import nothing_of_that_name\n")

    with (
        override_settings(INSTALLED_APPS=["async_apscheduler", "broken_app"]),
        pytest.raises(ModuleNotFoundError, match="nothing_of_that_name"),
    ):
        registry.autodiscover()

    monkeypatch.delitem(sys.modules, "broken_app")


def test_the_package_can_be_imported_and_used_before_django_is_configured() -> None:
    """So that any module may declare jobs, whenever it is imported."""
    program = (
        "import sys\n"
        "from async_apscheduler import __version__, current_run, job, scheduled_job\n"
        "import json.decoder as module\n"
        "scheduled_job('cron', hour=3, timeout=5)(job(name='x')(module.scanstring))\n"
        "from django.apps import apps\n"
        "from django.conf import settings\n"
        "assert not settings.configured and not apps.ready\n"
        "assert not [name for name in sys.modules if name.startswith('async_apscheduler.models')]\n"
        "print(__version__, bool(current_run))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(Path(async_apscheduler.__file__).parents[1])},
    )

    assert done.stderr == ""
    assert done.stdout == f"{async_apscheduler.__version__} False\n"
