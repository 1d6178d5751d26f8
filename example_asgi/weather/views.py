"""The desk's page and its buttons: how an async view schedules, starts and cancels jobs.

None of it needs a scheduler in this process: the views write rows, the scheduler's process acts.
Anybody may press the buttons here; in a real project these views would ask for a login.
"""

from __future__ import annotations

from datetime import timedelta

from asgiref.sync import sync_to_async
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import aget_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from async_apscheduler.models import DjangoJob, DjangoJobExecution
from example_asgi.weather.jobs import launch_balloon, reopen_station
from example_asgi.weather.models import Bulletin, Station

COUNTDOWN = timedelta(seconds=10)
"""Between the order of a balloon and its launch: time to call it off."""

REPAIR = timedelta(seconds=30)
RECENT_RUNS = 12


@require_GET
async def home(request: HttpRequest) -> HttpResponse:
    """Show the stations, the upcoming jobs and the recent runs."""
    context = {
        "stations": [station async for station in Station.objects.all()],
        "bulletin": await Bulletin.objects.afirst(),
        "jobs": [row async for row in DjangoJob.objects.all()],
        "runs": [run async for run in DjangoJobExecution.objects.all()[:RECENT_RUNS]],
        "countdown": COUNTDOWN.seconds,
        "repair": REPAIR.seconds,
    }
    return render(request, "weather/home.html", context)


@require_POST
async def schedule_balloon(request: HttpRequest, slug: str) -> HttpResponse:
    """Schedule a one-off job. A second order for the same station moves the launch."""
    station = await aget_object_or_404(Station, pk=slug)
    await DjangoJob.objects.aschedule(
        launch_balloon,
        "date",
        run_date=timezone.now() + COUNTDOWN,
        args=[station.pk],
        id=f"balloon-{station.pk}",
        name=f"Balloon from {station}",
        replace_existing=True,
        by=await _visitor(request),
    )
    return redirect("weather:home")


@require_POST
async def repair_station(request: HttpRequest, slug: str) -> HttpResponse:
    """Close a station for a while.

    A transaction needs synchronous code, so it is written as such and awaited as a whole.
    """
    station = await aget_object_or_404(Station, pk=slug)
    await sync_to_async(_close_until_repaired)(station, by=await _visitor(request))
    return redirect("weather:home")


@transaction.atomic
def _close_until_repaired(station: Station, *, by: str) -> None:
    """Close the station and schedule its opening: both are stored, or neither.

    A closed station without that job would stay closed for ever.
    """
    Station.objects.filter(pk=station.pk).update(is_open=False)
    DjangoJob.objects.schedule(
        reopen_station,
        "date",
        run_date=timezone.now() + REPAIR,
        args=[station.pk],
        id=f"reopen-{station.pk}",
        name=f"Reopen {station}",
        replace_existing=True,
        by=by,
    )


@require_POST
async def run_now(request: HttpRequest, job_id: str) -> HttpResponse:
    """Ask for a run at once, beside the job's own times."""
    row = await aget_object_or_404(DjangoJob, pk=job_id)
    await row.arun(by=await _visitor(request))
    return redirect("weather:home")


@require_POST
async def call_off(request: HttpRequest, job_id: str) -> HttpResponse:
    """Remove a job before its time; one that has begun meanwhile is gone from the list already."""
    row = await DjangoJob.objects.filter(pk=job_id).afirst()
    if row is not None:
        await row.aremove(by=await _visitor(request))
    return redirect("weather:home")


@require_POST
async def cancel_run(request: HttpRequest, pk: int) -> HttpResponse:
    """Cancel a run: its process cancels the coroutine, whichever process that is."""
    run = await aget_object_or_404(DjangoJobExecution, pk=pk)
    await run.acancel(by=await _visitor(request))
    return redirect("weather:home")


async def _visitor(request: HttpRequest) -> str:
    """Return who presses the button, for the audit trail."""
    user = await request.auser()
    return user.get_username() if user.is_authenticated else "a visitor of the desk"
