"""The stations that the desk begins with."""

from __future__ import annotations

from typing import Any

from django.db import migrations

NAMES = ["Airport", "Castle", "Forest", "Harbour", "Hill", "Island"]


def add_stations(apps: Any, schema_editor: Any) -> None:
    """Add a row for each."""
    station = apps.get_model("weather", "Station")
    station.objects.bulk_create(station(slug=name.lower(), name=name) for name in NAMES)


class Migration(migrations.Migration):
    dependencies = [("weather", "0001_initial")]
    operations = [migrations.RunPython(add_stations, migrations.RunPython.noop)]
