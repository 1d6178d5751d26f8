"""The settings: defaults, what each key takes, and what a mistake is told."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from async_apscheduler.conf import JobDefaults, Retention, Settings, get_settings
from async_apscheduler.exceptions import AsyncAPSchedulerError, ConfigurationError


def settings_with(**keys: Any) -> Settings:
    """Read the settings of a project that has these keys in ASYNC_APSCHEDULER."""
    with override_settings(ASYNC_APSCHEDULER=keys):
        return get_settings()


def refusal_of(**keys: Any) -> str:
    """Return what a project with these keys is told."""
    with pytest.raises(ConfigurationError) as caught:
        settings_with(**keys)
    return str(caught.value)


def test_a_project_without_the_setting_gets_the_documented_defaults() -> None:
    """Nothing has to be configured."""
    settings = get_settings()

    assert settings.database == "default"
    assert settings.max_concurrent_runs == 1000
    assert settings.threads == 10
    assert settings.db_threads == 16
    assert settings.poll_interval == 1
    assert settings.heartbeat_interval == 5
    assert settings.node_timeout == 30
    assert settings.shutdown_timeout == 30
    assert settings.job_defaults == JobDefaults(
        coalesce=True, misfire_grace_time=None, max_instances=1
    )
    assert settings.executors == {}
    assert settings.serializer == "json"
    assert settings.retention == Retention(max_age=7 * 24 * 3600, max_runs_per_job=None)
    assert settings.log_capture is True
    assert settings.return_value_max_bytes == 64 * 1024
    assert settings.blocked_loop_threshold == 0.25
    assert settings.environment == ""
    assert settings.sensitive_names == ()


def test_the_time_zone_is_by_default_that_of_the_project() -> None:
    """TIME_ZONE of Django is followed, also when it changes."""
    with override_settings(TIME_ZONE="Europe/Helsinki"):
        assert get_settings().time_zone == ZoneInfo("Europe/Helsinki")

    with override_settings(TIME_ZONE="Asia/Kathmandu"):
        assert get_settings().time_zone == ZoneInfo("Asia/Kathmandu")


def test_references_may_by_default_point_into_the_installed_apps() -> None:
    """The list follows INSTALLED_APPS."""
    everything = get_settings().allowed_modules

    with override_settings(INSTALLED_APPS=["async_apscheduler"]):
        less = get_settings().allowed_modules

    assert "django.contrib.admin" in everything
    assert less == ("async_apscheduler",)


def test_a_change_is_live_and_ends_with_the_override() -> None:
    """No value is kept from before the override, nor from inside it."""
    before = get_settings().threads

    with override_settings(ASYNC_APSCHEDULER={"THREADS": 3}):
        inside = get_settings().threads
        with override_settings(ASYNC_APSCHEDULER={}):
            nested = get_settings().threads
        restored = get_settings().threads

    assert (before, inside, nested, restored, get_settings().threads) == (10, 3, 10, 3, 10)


def test_the_settings_are_read_once_until_they_change() -> None:
    """Asking at each use costs nothing."""
    assert get_settings() is get_settings()


def test_the_settings_cannot_be_changed_in_place() -> None:
    """The object that one caller holds is shared by all."""
    with pytest.raises(AttributeError):
        get_settings().threads = 5  # type: ignore[misc]  # the point of the test


@pytest.mark.parametrize(
    ("key", "value", "field", "expected"),
    [
        ("DATABASE", "other", "database", "other"),
        ("TIME_ZONE", "Europe/Helsinki", "time_zone", ZoneInfo("Europe/Helsinki")),
        ("TIME_ZONE", UTC, "time_zone", UTC),
        ("MAX_CONCURRENT_RUNS", 1, "max_concurrent_runs", 1),
        ("THREADS", 4, "threads", 4),
        ("DB_THREADS", 2, "db_threads", 2),
        ("SERIALIZER", "pickle", "serializer", "pickle"),
        ("LOG_CAPTURE", False, "log_capture", False),
        ("RETURN_VALUE_MAX_BYTES", 100, "return_value_max_bytes", 100),
        ("ENVIRONMENT", "staging", "environment", "staging"),
        ("SENSITIVE_NAMES", ["iban"], "sensitive_names", ("iban",)),
        (
            "EXECUTORS",
            {"cpu": {"type": "processpool"}},
            "executors",
            {"cpu": {"type": "processpool"}},
        ),
        ("ALLOWED_MODULES", ["shop", "mail.tasks"], "allowed_modules", ("shop", "mail.tasks")),
        ("ALLOWED_MODULES", [], "allowed_modules", ()),
        ("ALLOWED_MODULES", "*", "allowed_modules", "*"),
    ],
)
def test_a_key_sets_its_field(key: str, value: Any, field: str, expected: Any) -> None:
    """Each key of the dict arrives in the field of the same name."""
    assert getattr(settings_with(**{key: value}), field) == expected


@pytest.mark.parametrize(
    "key",
    [
        "POLL_INTERVAL",
        "HEARTBEAT_INTERVAL",
        "NODE_TIMEOUT",
        "SHUTDOWN_TIMEOUT",
        "BLOCKED_LOOP_THRESHOLD",
    ],
)
@pytest.mark.parametrize("value", [12, 12.0, timedelta(seconds=12)])
def test_a_duration_is_a_number_of_seconds_or_a_timedelta(key: str, value: Any) -> None:
    """All three spellings mean the same."""
    settings = settings_with(**{"NODE_TIMEOUT": 60, key: value})

    assert getattr(settings, key.lower()) == 12.0


@pytest.mark.parametrize("value", [0, 0.0, timedelta(0)])
def test_only_the_shutdown_may_take_no_time_at_all(value: Any) -> None:
    """Zero cancels running jobs at once; any other duration of zero would spin."""
    assert settings_with(SHUTDOWN_TIMEOUT=value).shutdown_timeout == 0
    assert "POLL_INTERVAL" in refusal_of(POLL_INTERVAL=value)


@pytest.mark.parametrize(
    "value", [-1, timedelta(seconds=-1), "5", None, True, False, float("nan"), 1e12]
)
@pytest.mark.parametrize("key", ["POLL_INTERVAL", "SHUTDOWN_TIMEOUT"])
def test_a_wrong_duration_is_refused_with_the_key_and_the_value(key: str, value: Any) -> None:
    """Negative, endless and non-numbers are no durations."""
    message = refusal_of(**{key: value})

    assert f"ASYNC_APSCHEDULER[{key!r}]" in message
    assert repr(value) in message
    assert "seconds or a timedelta" in message


@pytest.mark.parametrize(
    "key", ["MAX_CONCURRENT_RUNS", "THREADS", "DB_THREADS", "RETURN_VALUE_MAX_BYTES"]
)
@pytest.mark.parametrize("value", [0, -3, 2.5, "4", None, True])
def test_a_wrong_count_is_refused_with_the_key_and_the_value(key: str, value: Any) -> None:
    """A count is a whole number of at least one."""
    message = refusal_of(**{key: value})

    assert f"ASYNC_APSCHEDULER[{key!r}]" in message
    assert f"at least 1, got {value!r}" in message


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("DATABASE", None, "expected a string, got None"),
        ("ENVIRONMENT", 7, "expected a string, got 7"),
        ("SENSITIVE_NAMES", "iban", "expected a list of words such as 'iban', got 'iban'"),
        ("SENSITIVE_NAMES", ["iban", "-"], "'-' has no letter and would fit every name"),
        ("TIME_ZONE", "Europe/Atlantis", "'Europe/Atlantis' is not the name of a time zone"),
        ("TIME_ZONE", "", "'' is not the name of a time zone"),
        ("TIME_ZONE", "../secrets", "'../secrets' is not the name of a time zone"),
        ("TIME_ZONE", 2, "expected the name of a time zone, got 2"),
        ("SERIALIZER", "yaml", "expected 'json' or 'pickle', got 'yaml'"),
        ("LOG_CAPTURE", "yes", "expected True or False, got 'yes'"),
        ("LOG_CAPTURE", 1, "expected True or False, got 1"),
        ("EXECUTORS", ["cpu"], "expected a dict of alias to executor, got ['cpu']"),
        ("ALLOWED_MODULES", "shop", "expected a list of package names, or '*', got 'shop'"),
        ("ALLOWED_MODULES", None, "expected a list of package names, or '*', got None"),
        ("ALLOWED_MODULES", ["shop", 3], "expected a list of package names"),
        ("JOB_DEFAULTS", True, "expected a dict with coalesce, misfire_grace_time, max_instances"),
        ("RETENTION", "a week", "seconds or a timedelta, got 'a week'"),
    ],
)
def test_a_wrong_value_is_told_what_was_expected(key: str, value: Any, complaint: str) -> None:
    """The message names the key, the wish and what came instead."""
    message = refusal_of(**{key: value})

    assert f"ASYNC_APSCHEDULER[{key!r}]: " in message
    assert complaint in message


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("THREDS", "THREADS"),
        ("MAX_CONCURENT_RUN", "MAX_CONCURRENT_RUNS"),
        ("poll_interval", "POLL_INTERVAL"),
        ("Timezone", "TIME_ZONE"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest_one(typed: str, meant: str) -> None:
    """A slip of the finger, or small letters, is recognised."""
    assert f"{typed!r}] is unknown; did you mean {meant!r}?" in refusal_of(**{typed: 1})


def test_a_key_like_no_other_is_answered_with_all_that_are_known() -> None:
    """Without a near match the whole list helps."""
    message = refusal_of(XYZZY=1)

    assert "'XYZZY'] is unknown; known are DATABASE, TIME_ZONE, " in message
    assert "ENVIRONMENT, SENSITIVE_NAMES." in message


def test_all_mistakes_are_told_in_one_message() -> None:
    """Nobody has to start three times to find three mistakes."""
    lines = refusal_of(THREDS=1, SERIALIZER="yaml", LOG_CAPTURE=1).splitlines()

    assert len(lines) == 3
    assert [line.split("'")[1] for line in lines] == ["THREDS", "SERIALIZER", "LOG_CAPTURE"]


def test_a_mistake_raises_again_until_it_is_mended() -> None:
    """The failure is not remembered as an answer, and the mend is seen."""
    with override_settings(ASYNC_APSCHEDULER={"THREADS": 0}):
        for _ in range(2):
            with pytest.raises(ConfigurationError):
                get_settings()

        with override_settings(ASYNC_APSCHEDULER={"THREADS": 1}):
            assert get_settings().threads == 1


@pytest.mark.parametrize("value", [None, ["THREADS"], "THREADS=3"])
def test_the_setting_itself_must_be_a_dict(value: Any) -> None:
    """Anything else is refused with its type."""
    with (
        override_settings(ASYNC_APSCHEDULER=value),
        pytest.raises(ConfigurationError, match=f"must be a dict, not {type(value).__name__}"),
    ):
        get_settings()


def test_the_error_is_both_ours_and_that_of_django() -> None:
    """Either except clause catches it."""
    assert issubclass(ConfigurationError, AsyncAPSchedulerError)
    assert issubclass(ConfigurationError, ImproperlyConfigured)


def test_an_alias_that_databases_lacks_is_refused_with_those_it_has() -> None:
    """The message offers the aliases."""
    message = refusal_of(DATABASE="replica")

    assert "'replica', but DATABASES has 'default', 'other'." in message


def test_a_node_must_have_time_for_two_heartbeats() -> None:
    """One late heartbeat must not kill a healthy node; exactly two are enough."""
    assert settings_with(HEARTBEAT_INTERVAL=10, NODE_TIMEOUT=20).node_timeout == 20

    message = refusal_of(HEARTBEAT_INTERVAL=10, NODE_TIMEOUT=19.9)

    assert "NODE_TIMEOUT" in message
    assert "twice HEARTBEAT_INTERVAL" in message


def test_job_defaults_name_only_what_differs() -> None:
    """What the dict leaves out keeps its default."""
    defaults = settings_with(JOB_DEFAULTS={"max_instances": 3}).job_defaults

    assert defaults == JobDefaults(coalesce=True, misfire_grace_time=None, max_instances=3)


@pytest.mark.parametrize(
    ("value", "seconds"), [(60, 60), (60.0, 60), (timedelta(minutes=1), 60), (None, None)]
)
def test_the_grace_time_of_late_runs_is_whole_seconds_or_none(
    value: Any, seconds: int | None
) -> None:
    """APScheduler knows no fractions here; None means that a run is never too late."""
    defaults = settings_with(JOB_DEFAULTS={"misfire_grace_time": value}).job_defaults

    assert defaults.misfire_grace_time == seconds
    assert not isinstance(defaults.misfire_grace_time, float)


@pytest.mark.parametrize(
    "value", [0, 0.5, 1.5, timedelta(milliseconds=1500), "60", True, float("inf")]
)
def test_a_grace_time_that_is_not_whole_seconds_is_refused(value: Any) -> None:
    """It is not rounded behind the user's back."""
    message = refusal_of(JOB_DEFAULTS={"misfire_grace_time": value})

    assert "ASYNC_APSCHEDULER['JOB_DEFAULTS']: " in message
    assert (
        f"number of seconds, got {value!r}" in message or f"a timedelta, got {value!r}" in message
    )


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("JOB_DEFAULTS", {"coalesc": True}, "'coalesc' is unknown; did you mean 'coalesce'?"),
        ("JOB_DEFAULTS", {"COALESCE": True}, "did you mean 'coalesce'?"),
        ("JOB_DEFAULTS", {"colour": 1}, "known are coalesce, misfire_grace_time, max_instances."),
        ("JOB_DEFAULTS", {"coalesce": 1}, "expected True or False, got 1"),
        ("JOB_DEFAULTS", {"max_instances": 0}, "at least 1, got 0"),
        ("RETENTION", {"max_ages": 5}, "'max_ages' is unknown; did you mean 'max_age'?"),
        ("RETENTION", {"max_age": 0}, "positive number of seconds or a timedelta, got 0"),
        ("RETENTION", {"max_runs_per_job": 0}, "at least 1, got 0"),
    ],
)
def test_a_mistake_inside_a_nested_dict_is_told_like_any_other(
    key: str, value: Any, complaint: str
) -> None:
    """The inner keys have types and near matches, too."""
    message = refusal_of(**{key: value})

    assert f"ASYNC_APSCHEDULER[{key!r}]: " in message
    assert complaint in message


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3600, Retention(max_age=3600)),
        (timedelta(days=2), Retention(max_age=172_800)),
        (None, Retention(max_age=None)),
        ({}, Retention()),
        ({"max_age": timedelta(hours=1)}, Retention(max_age=3600)),
        ({"max_age": None, "max_runs_per_job": 50}, Retention(max_age=None, max_runs_per_job=50)),
        ({"max_runs_per_job": 50}, Retention(max_age=604_800, max_runs_per_job=50)),
        ({"max_runs_per_job": None}, Retention()),
    ],
)
def test_retention_is_an_age_or_a_dict_or_none(value: Any, expected: Retention) -> None:
    """A bare age, None to keep everything, or both limits by name."""
    assert settings_with(RETENTION=value).retention == expected
