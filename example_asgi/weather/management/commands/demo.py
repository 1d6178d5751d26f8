"""`manage.py demo`: a prepared database, a login, a web server and a scheduler, by one command.

In production the two are two services. Here they are two processes just the same, since a scheduler
never lives inside a web server; this command only starts and stops them together.
"""

from __future__ import annotations

import asyncio
import socket
from argparse import ArgumentParser
from contextlib import closing
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse

from example_asgi.processes import ChildEndedError, Children

HOST = "127.0.0.1"
USUAL_PORT = 8000
LOGIN = PASSWORD = "demo"
"""Known to everybody, which is why the web server listens on the loopback address only."""

WELCOME = """
The weather desk is open. Ctrl-C closes it.

    {desk}
        jobs and runs as they happen: launch a balloon, call it off, cancel the forecast
    {jobs}
    {runs}
        the same in the admin: log in as {login}, password {password}

The tide gauge fails on purpose. What follows are the lines of the scheduler, a process of its own.
"""


class Command(BaseCommand):
    """Runs the example until it is stopped."""

    help = (
        "Prepares the database, creates the login demo/demo, and runs the web server and a "
        "scheduler until Ctrl-C or SIGTERM."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--port",
            type=int,
            help=f"of the web server (default: {USUAL_PORT}, or a free one if that is taken)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Prepare, start, wait for the end."""
        port = _port(options["port"])
        call_command("migrate", verbosity=0)
        _create_login()
        try:
            asyncio.run(self._run(port))
        except ChildEndedError as error:
            raise CommandError(
                f"{error} Its lines above say why; nothing is left running."
            ) from error

    async def _run(self, port: int) -> None:
        address = f"http://{HOST}:{port}"
        environment = {"EXAMPLE_URL": address, "PYTHONUNBUFFERED": "1"}
        async with Children() as children:
            await children.start(
                "web server",
                *("uvicorn", "example_asgi.asgi:application", "--host", HOST, "--port", str(port)),
                *("--lifespan", "off", "--log-level", "warning"),
                *("--timeout-graceful-shutdown", "5"),
                environment=environment,
            )
            if not await children.until(_answers(port)):
                return
            self._welcome(address)
            await children.start(
                "scheduler", "django", "runasyncscheduler", environment=environment
            )
            await children.until(asyncio.Event().wait())

    def _welcome(self, address: str) -> None:
        text = WELCOME.format(
            desk=address + reverse("weather:home"),
            jobs=address + reverse("admin:async_apscheduler_djangojob_changelist"),
            runs=address + reverse("admin:async_apscheduler_djangojobexecution_changelist"),
            login=LOGIN,
            password=PASSWORD,
        )
        self.stdout.write(text)
        self.stdout.flush()


def _port(wanted: int | None) -> int:
    """Return the wanted port, or the usual one, or any free one.

    Raises CommandError if the wanted one cannot be had.
    """
    if wanted is None:
        try:
            return _free(USUAL_PORT)
        except OSError:
            return _free(0)
    try:
        return _free(wanted)
    except (OSError, OverflowError) as error:
        raise CommandError(
            f"Port {wanted} cannot be used ({error}). Leave --port out to get a free one."
        ) from error


def _free(port: int) -> int:
    """Return the port if it is free, or for 0 one that is; raise what the system says if not."""
    with closing(socket.socket()) as candidate:
        # As servers do: a port whose last connections are still closing is free.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        candidate.bind((HOST, port))
        return int(candidate.getsockname()[1])


def _create_login() -> None:
    user, _ = get_user_model().objects.get_or_create(
        username=LOGIN, defaults={"is_staff": True, "is_superuser": True}
    )
    if not user.check_password(PASSWORD):
        user.set_password(PASSWORD)
        user.save()


async def _answers(port: int) -> None:
    """Return as soon as something accepts connections on the port."""
    while True:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
