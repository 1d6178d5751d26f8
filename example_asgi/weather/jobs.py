"""The desk's jobs. A scheduler finds this module by its name, as in every installed app.

`@scheduled_job` declares a job with its times; `@job` gives options to a function that views and
other code schedule. The intervals are short, so that there is something to see.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta
from typing import Any

from django.db.models import Avg, Max, Min
from django.utils import timezone

from async_apscheduler import current_run, job, scheduled_job
from example_asgi.weather.instruments import ask, connected
from example_asgi.weather.models import Bulletin, Reading, Station

logger = logging.getLogger(__name__)


@scheduled_job("interval", seconds=5, id="read-stations", name="Read all stations", timeout=30)
async def read_stations() -> dict[str, int]:
    """Concurrent I/O: ask all stations at once, in the time that the slowest takes.

    Progress shows in the admin while the run goes on. What a job returns is kept with its run.
    """
    stations = [station async for station in Station.objects.filter(is_open=True)]
    readings: list[Reading] = []

    async def read(station: Station) -> None:
        answer = await ask(client, station.slug)
        station.temperature, station.wind = answer["temperature"], answer["wind"]
        readings.append(Reading(station=station, **answer))
        await current_run.aset_progress(len(readings), len(stations), station.name)

    async with connected() as client, asyncio.TaskGroup() as questions:
        for station in stations:
            questions.create_task(read(station))

    await Station.objects.abulk_update(stations, ["temperature", "wind"])
    await Reading.objects.abulk_create(readings)
    return {"readings": len(readings)}


@scheduled_job("interval", seconds=10, id="compare-stations", name="Compare the stations")
async def compare_stations() -> None:
    """The async ORM, as in any view: aggregate, iterate, update.

    The queries go to a database thread of the run, never to the event loop.
    """
    figures = Reading.objects.order_by().values("station")
    figures = figures.annotate(
        low=Min("temperature"), mid=Avg("temperature"), high=Max("temperature")
    )
    stations = [
        Station(slug=row["station"], lowest=row["low"], mean=row["mid"], highest=row["high"])
        async for row in figures
    ]
    await Station.objects.abulk_update(stations, ["lowest", "mean", "highest"])
    overall = await Reading.objects.aaggregate(mean=Avg("temperature"))
    if overall["mean"] is not None:
        # What a job logs is kept with its run.
        logger.info("Mean of all readings: %.1f °C", overall["mean"])


@scheduled_job(
    "interval",
    seconds=20,
    id="read-tide-gauge",
    name="Read the tide gauge",
    max_attempts=3,
    retry_delay=2,
)
async def read_tide_gauge() -> dict[str, Any]:
    """A failing job: the gauge is broken, and each run gives up after its third attempt.

    The row keeps the exception with its traceback; the scheduler and the other jobs go on.
    """
    async with connected() as client:
        return await ask(client, "tide-gauge")


@scheduled_job("interval", seconds=45, id="compute-forecast", name="Compute the forecast")
async def compute_forecast(hours: int = 40) -> str:
    """A slow job: 40 seconds with progress, to be cancelled from the page or the admin.

    A cancelled run may clean up. At Ctrl-C a run has SHUTDOWN_TIMEOUT to end by itself.
    """
    try:
        for hour in range(1, hours + 1):
            await asyncio.sleep(1)
            await current_run.aset_progress(hour, hours, f"{hour} hours ahead")
    except asyncio.CancelledError:
        logger.warning("Cancelled before the end: no forecast this time")
        raise
    return "Sunny spells, with a chance of asynchronous showers."


@scheduled_job("interval", seconds=15, id="write-bulletin", name="Write the bulletin")
def write_bulletin() -> str:
    """A plain function runs in a thread, where it may block: ordinary ORM calls, even a sleep."""
    stations = Station.objects.filter(is_open=True, temperature__isnull=False)
    lines = [
        f"{station.name:<10}{station.temperature:>6.1f} °C{station.wind:>6.1f} m/s"
        for station in stations
    ]
    time.sleep(1.5)  # the typewriter is slow
    bulletin = Bulletin.objects.create(text="\n".join(lines) or "No station has reported yet.")
    return str(bulletin)


@scheduled_job("crontab", "* * * * *", id="tidy-up", name="Forget old readings")
async def tidy_up(minutes: int = 10) -> dict[str, int]:
    """A crontab line: every full minute, forget what is older than ten minutes."""
    before = timezone.now() - timedelta(minutes=minutes)
    readings, _ = await Reading.objects.filter(taken_at__lt=before).adelete()
    bulletins, _ = await Bulletin.objects.filter(written_at__lt=before).adelete()
    return {"readings": readings, "bulletins": bulletins}


@job(timeout=60)
async def launch_balloon(station: str, kilometres: int = 12) -> dict[str, Any]:
    """A one-off job, which a view schedules: rise two kilometres a second and report from the top.

    It is given the key of a row, not the row: the arguments are kept as JSON.
    """
    for height in range(1, kilometres + 1):
        await asyncio.sleep(0.5)
        await current_run.aset_progress(height, kilometres, f"{height} km up")
    ground = await Station.objects.aget(pk=station)
    warmth = 10.0 if ground.temperature is None else ground.temperature
    return {"height": kilometres, "temperature": round(warmth - 6.5 * kilometres, 1)}


@job
async def reopen_station(slug: str) -> None:
    """A one-off job that undoes, at its time, what a view did; both were stored together."""
    await Station.objects.filter(pk=slug).aupdate(is_open=True)
