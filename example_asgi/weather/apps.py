"""The app's configuration."""

from __future__ import annotations

from django.apps import AppConfig


class WeatherConfig(AppConfig):
    """The weather desk."""

    name = "example_asgi.weather"
    verbose_name = "Weather desk"
