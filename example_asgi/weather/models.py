"""What the desk knows: its stations, what they reported, and what was made of it."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class Station(models.Model):
    """A place with instruments: what it reported last, and what it has reported of late."""

    slug = models.SlugField(primary_key=True)
    name = models.CharField(max_length=50)
    is_open = models.BooleanField("open", default=True)
    temperature = models.FloatField("temperature (°C)", null=True, blank=True)
    wind = models.FloatField("wind (m/s)", null=True, blank=True)
    lowest = models.FloatField("lowest (°C)", null=True, blank=True)
    mean = models.FloatField("mean (°C)", null=True, blank=True)
    highest = models.FloatField("highest (°C)", null=True, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Reading(models.Model):
    """What a station reported at one moment."""

    station = models.ForeignKey(Station, on_delete=models.CASCADE, related_name="readings")
    taken_at = models.DateTimeField(default=timezone.now)
    temperature = models.FloatField("temperature (°C)")
    wind = models.FloatField("wind (m/s)")

    class Meta:
        ordering = ["-taken_at"]
        indexes = [models.Index(fields=["taken_at"], name="weather_reading_age")]

    def __str__(self) -> str:
        return f"{self.station_id}: {self.temperature} °C"


class Bulletin(models.Model):
    """A text for the newspapers."""

    written_at = models.DateTimeField(default=timezone.now)
    text = models.TextField()

    class Meta:
        ordering = ["-written_at"]

    def __str__(self) -> str:
        return f"Bulletin of {self.written_at:%H:%M:%S}"
