"""Stations, readings and bulletins."""

from __future__ import annotations

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Bulletin",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("written_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("text", models.TextField()),
            ],
            options={
                "ordering": ["-written_at"],
            },
        ),
        migrations.CreateModel(
            name="Station",
            fields=[
                ("slug", models.SlugField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=50)),
                ("is_open", models.BooleanField(default=True, verbose_name="open")),
                (
                    "temperature",
                    models.FloatField(blank=True, null=True, verbose_name="temperature (°C)"),
                ),
                ("wind", models.FloatField(blank=True, null=True, verbose_name="wind (m/s)")),
                ("lowest", models.FloatField(blank=True, null=True, verbose_name="lowest (°C)")),
                ("mean", models.FloatField(blank=True, null=True, verbose_name="mean (°C)")),
                ("highest", models.FloatField(blank=True, null=True, verbose_name="highest (°C)")),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="Reading",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("taken_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("temperature", models.FloatField(verbose_name="temperature (°C)")),
                ("wind", models.FloatField(verbose_name="wind (m/s)")),
                (
                    "station",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="readings",
                        to="weather.station",
                    ),
                ),
            ],
            options={
                "ordering": ["-taken_at"],
                "indexes": [models.Index(fields=["taken_at"], name="weather_reading_age")],
            },
        ),
    ]
