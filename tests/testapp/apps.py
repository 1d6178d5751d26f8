"""The test app, as Django sees it."""

from __future__ import annotations

from django.apps import AppConfig


class TestAppConfig(AppConfig):
    """The app `testapp`."""

    __test__ = False  # its name reads like a test class to pytest

    name = "tests.testapp"
    label = "testapp"
    default_auto_field = "django.db.models.BigAutoField"
