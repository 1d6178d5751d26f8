"""Function references: what gets a name, and what a name may lead to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from async_apscheduler.exceptions import (
    InvalidJobError,
    ReferenceNotAllowedError,
    UnresolvableReferenceError,
)
from async_apscheduler.references import check_allowed, reference_to, resolve
from tests.testapp import functions
from tests.testapp.functions import Child, Greeter

HERE = "tests.testapp.functions"


@pytest.fixture
def package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str], None]]:
    """Give a function that writes a module of a fresh, importable package."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(name: str, source: str) -> None:
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(source)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("func", "name"),
    [
        (functions.plain, "plain"),
        (functions.coroutine, "coroutine"),
        (functions.decorated, "decorated"),
        (functions.cached, "cached"),
        (Greeter, "Greeter"),
        (Greeter.greet, "Greeter.greet"),
        (Greeter.shout, "Greeter.shout"),
        (Greeter.introduce, "Greeter.introduce"),
        (Greeter.Inner.whisper, "Greeter.Inner.whisper"),
        (Child.introduce, "Child.introduce"),
        (Greeter().greet, "Greeter.greet"),
        (Child().greet, "Child.greet"),
    ],
)
def test_what_has_a_name_gets_a_reference(func: Callable[..., Any], name: str) -> None:
    """Functions, classes and methods are named as APScheduler names them."""
    from apscheduler.util import obj_to_ref

    reference = reference_to(func)

    assert reference == f"{HERE}:{name}"
    if func is not functions.cached:  # upstream takes its name from the wrapper's type
        assert reference == obj_to_ref(func)


@pytest.mark.parametrize(
    ("func", "way_out"),
    [
        (functions.anonymous, "Write it as a function at the top level of a module."),
        (functions.make_nested(), "Move it to the top level of the module."),
        (functions.partial_of_plain, "Schedule the function itself and pass the arguments"),
        (functions.callable_instance, "a Callme has no name"),
        ("text".upper, "Schedule a function at the top level of a module"),
        (7, "an int has no name"),
    ],
)
def test_what_has_no_name_is_refused_with_the_way_out(func: Any, way_out: str) -> None:
    """Lambdas, nested functions, partials and instances cannot be found by another process."""
    with pytest.raises(InvalidJobError) as caught:
        reference_to(func)

    assert way_out in str(caught.value)


def test_a_function_of_the_started_script_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """`__main__` is another module in another process."""

    def job() -> None:
        return None

    monkeypatch.setattr(job, "__module__", "__main__")
    monkeypatch.setattr(job, "__qualname__", "job")

    with pytest.raises(InvalidJobError, match=r"Move it to a module that can be imported"):
        reference_to(job)


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "plain",
        f"{HERE}.plain",
        f"{HERE}:",
        ":plain",
        f"{HERE}::plain",
        f"{HERE}:a:b",
        "tests..testapp:plain",
        ".tests.testapp:plain",
        f"{HERE}:Greeter..greet",
        f"{HERE}:Greeter.",
        f"{HERE}:make_nested.<locals>.nested",
        f"{HERE}:<lambda>",
        f"{HERE}:plain()",
        f" {HERE}:plain",
        f"{HERE}:plain\n",
        f"{HERE}:1st",
        "tests/testapp/functions:plain",
        "tests.testapp\0:plain",
        None,
        17,
        ["tests.testapp.functions:plain"],
    ],
)
def test_bad_syntax_is_refused(reference: Any) -> None:
    """Only `package.module:name` is a reference, with Python names for parts."""
    for check in (check_allowed, resolve):
        with pytest.raises(InvalidJobError, match=r"package\.module:name") as caught:
            check(reference)

        assert repr(reference) in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "package"),
    [
        ("os:system", "os"),
        ("subprocess:run", "subprocess"),
        ("builtins:eval", "builtins"),
        ("tests:anything", "tests"),
        ("tests.testapp2.functions:plain", "tests.testapp2.functions"),
        ("Tests.testapp.functions:plain", "Tests.testapp.functions"),
        ("django.core.management:call_command", "django.core.management"),
    ],
)
def test_a_module_outside_the_allowed_packages_is_refused(reference: str, package: str) -> None:
    """The message names the reference and what to add to the setting."""
    with pytest.raises(ReferenceNotAllowedError) as caught:
        check_allowed(reference)

    assert repr(reference) in str(caught.value)
    assert f'Add {package!r} to ASYNC_APSCHEDULER["ALLOWED_MODULES"]' in str(caught.value)


@pytest.mark.parametrize(
    "reference",
    [
        f"{HERE}:plain.__globals__",
        f"{HERE}:plain.__call__",
        f"{HERE}:decorated.__wrapped__",
        f"{HERE}:Greeter.__init__",
        f"{HERE}:__builtins__.eval",
        "tests.testapp.__main__:plain",
        "__main__:plain",
    ],
)
def test_internal_names_of_python_are_refused_even_where_everything_is_allowed(
    reference: str,
) -> None:
    """Through a dunder every function leads to every module."""
    with (
        override_settings(ASYNC_APSCHEDULER={"ALLOWED_MODULES": "*"}),
        pytest.raises(ReferenceNotAllowedError, match="internal to Python"),
    ):
        check_allowed(reference)


def test_nothing_is_imported_for_a_reference_that_is_refused(
    package: Callable[[str, str], None],
) -> None:
    """Importing a module runs it, so the check comes first."""
    package("forbidden_shop.jobs", "def work(): ...")

    with pytest.raises(ReferenceNotAllowedError):
        resolve("forbidden_shop.jobs:work")

    assert "forbidden_shop" not in sys.modules


def test_a_listed_package_is_allowed_with_all_below_it(
    package: Callable[[str, str], None],
) -> None:
    """The list names packages; a module on it allows only itself."""
    package("listed_shop.jobs", "def work(): return 'done'")
    package("listed_shop.other", "def work(): return 'done'")

    with override_settings(ASYNC_APSCHEDULER={"ALLOWED_MODULES": ["listed_shop"]}):
        assert resolve("listed_shop.jobs:work")() == "done"

    with override_settings(ASYNC_APSCHEDULER={"ALLOWED_MODULES": ["listed_shop.jobs"]}):
        assert resolve("listed_shop.jobs:work")() == "done"
        with pytest.raises(ReferenceNotAllowedError):
            resolve("listed_shop.other:work")
        with pytest.raises(ReferenceNotAllowedError):
            resolve(f"{HERE}:plain")


def test_a_star_allows_every_module() -> None:
    """Who trusts all that can edit rows may say so."""
    with override_settings(ASYNC_APSCHEDULER={"ALLOWED_MODULES": "*"}):
        assert resolve("os.path:basename")("a/b") == "b"


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("plain", functions.plain),
        ("coroutine", functions.coroutine),
        ("decorated", functions.decorated),
        ("cached", functions.cached),
        ("Greeter", Greeter),
        ("Greeter.greet", Greeter.greet),
        ("Greeter.shout", Greeter.shout),
        ("Greeter.introduce", Greeter.introduce),
        ("Greeter.Inner.whisper", Greeter.Inner.whisper),
        ("Child.introduce", Child.introduce),
        ("callable_instance", functions.callable_instance),
        ("anonymous", functions.anonymous),
    ],
)
def test_a_reference_leads_back_to_its_target(name: str, target: Any) -> None:
    """What the module defines is found under its name, whatever kind of callable it is."""
    assert resolve(f"{HERE}:{name}") == target


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("os.system", "posix"),
        ("OS.popen", "os"),
        ("functools.reduce", "_functools"),
        ("functools.partial", "functools"),
        ("partial_of_plain", "functools"),
        ("Any", "typing"),
        ("Greeter.word.upper", None),
    ],
)
def test_what_a_module_has_only_borrowed_is_refused(name: str, home: str | None) -> None:
    """An allowed module imports others; that does not open them."""
    with pytest.raises(ReferenceNotAllowedError) as caught:
        resolve(f"{HERE}:{name}")

    assert f"is defined in {home!r}" in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        (f"{HERE}:missing", "looking up 'missing' failed with AttributeError"),
        (f"{HERE}:Greeter.missing", "looking up 'missing' failed"),
        (f"{HERE}:NOT_CALLABLE", "a str, which cannot be called"),
        (f"{HERE}:OS", "a module, which cannot be called"),
        ("tests.testapp.nowhere:plain", "failed with ModuleNotFoundError"),
    ],
)
def test_a_reference_that_leads_nowhere_says_why(reference: str, complaint: str) -> None:
    """The message holds the reference and the cause."""
    with pytest.raises(UnresolvableReferenceError) as caught:
        resolve(reference)

    assert repr(reference) in str(caught.value)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        (
            "class Mute(Exception):\n    def __str__(self):\n        raise ValueError\nraise Mute",
            "Mute",
        ),
    ],
)
def test_a_module_that_fails_to_import_is_told_with_its_error(
    package: Callable[[str, str], None], source: str, complaint: str
) -> None:
    """Whatever a module does when imported, it ends neither the pass nor the process."""
    package("failing_shop.jobs", source)

    with (
        override_settings(ASYNC_APSCHEDULER={"ALLOWED_MODULES": ["failing_shop"]}),
        pytest.raises(UnresolvableReferenceError, match="importing 'failing_shop") as caught,
    ):
        resolve("failing_shop.jobs:work")

    assert complaint in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_replaced_function_is_found_at_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered that a reload or a test could make stale."""
    first = resolve(f"{HERE}:plain")

    monkeypatch.setattr(functions, "plain", functions.coroutine)

    assert first is not functions.coroutine
    assert resolve(f"{HERE}:plain") is functions.coroutine
