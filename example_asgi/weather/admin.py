"""The desk's own rows in the admin; jobs and runs are there by themselves."""

from __future__ import annotations

from django.contrib import admin

from example_asgi.weather.models import Bulletin, Reading, Station


@admin.register(Station)
class StationAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # the stubs' generic, not Django's
    """Stations, which may be opened and closed in the list."""

    list_display = ["name", "is_open", "lowest", "mean", "highest"]
    list_editable = ["is_open"]


@admin.register(Reading)
class ReadingAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # the stubs' generic, not Django's
    """Readings, newest first."""

    list_display = ["station", "taken_at", "temperature", "wind"]
    list_filter = ["station"]
    list_select_related = ["station"]


@admin.register(Bulletin)
class BulletinAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # the stubs' generic, not Django's
    """Bulletins, newest first."""

    list_display = ["written_at", "text"]
