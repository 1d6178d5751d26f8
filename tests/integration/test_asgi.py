"""SchedulerLifespan, spoken to as a web server does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.db import connections
from django.test import override_settings

from async_apscheduler.asgi import Application, Message, Receive, SchedulerLifespan, Scope, Send
from async_apscheduler.models import DjangoJob, SchedulerNode, Status
from async_apscheduler.registry import Registry, scheduled_job
from tests.integration.conftest import finished_run
from tests.outage import database_away
from tests.support import await_until, committed_data
from tests.testapp import work

pytestmark = [committed_data, pytest.mark.usefixtures("isolated_registry")]

State = SchedulerNode.State


class Server:
    """A web server's side of the lifespan protocol."""

    def __init__(self, application: Application) -> None:
        self.scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        self.task = asyncio.ensure_future(
            application(self.scope, self._events.get, self._answers.put)
        )

    async def tell(self, event: str) -> Message:
        """Tell that the server starts or stops, and return the answer."""
        await self._events.put({"type": f"lifespan.{event}"})
        return await asyncio.wait_for(self._answers.get(), 20)


Serve = Callable[[Application], Server]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Make servers, which are gone after the test."""
    servers: list[Server] = []

    def make(application: Application) -> Server:
        servers.append(Server(application))
        return servers[-1]

    yield make
    for server in servers:
        server.task.cancel()
        await asyncio.wait((server.task,), timeout=20)


@asynccontextmanager
async def outage() -> AsyncIterator[None]:
    """See database_away(); what blocks in it does so in a thread."""
    away = database_away()
    await asyncio.to_thread(away.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(away.__exit__, None, None, None)
        await sync_to_async(connections.close_all)()  # it ended this test's connection as well


def application_with_lifespan(
    told: list[str], *, answers: str = "complete"
) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """Return an application that writes down what it is told, and how many nodes work then."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        for event in ("startup", "shutdown"):
            assert await receive() == {"type": f"lifespan.{event}"}
            running = await SchedulerNode.objects.filter(state=State.RUNNING).acount()
            told.append(f"{event} with {running} nodes")
            scope["state"]["told"] = told
            await send({"type": f"lifespan.{event}.{answers}", "message": "its own"})

    return application


async def test_other_scopes_pass_unchanged() -> None:
    """A request is the wrapped application's alone."""
    seen: list[Any] = []

    async def application(*arguments: Any) -> None:
        seen.append(arguments)

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError

    scope: Scope = {"type": "http", "path": "/"}

    await SchedulerLifespan(application)(scope, receive, send)

    ((its_scope, its_receive, its_send),) = seen
    assert its_scope is scope
    assert its_receive is receive
    assert its_send is send
    assert not await SchedulerNode.objects.aexists()


async def test_the_scheduler_starts_and_stops_with_the_server(serve: Serve) -> None:
    """Django's own application has no lifespan; runs end before the server's end is confirmed."""
    work.gates["gate"] = asyncio.Event()
    server = serve(SchedulerLifespan(ASGIHandler(), name="web"))

    started = await server.tell("startup")
    node = await SchedulerNode.objects.aget()
    await DjangoJob.objects.aschedule(work.wait_for_gate, args=["gate"], id="job")
    await await_until(lambda: work.seen)
    stopping = asyncio.create_task(server.tell("shutdown"))
    await await_until(SchedulerNode.objects.filter(state=State.DRAINING).aexists)
    work.gates["gate"].set()
    stopped = await stopping

    assert started == {"type": "lifespan.startup.complete"}
    assert stopped == {"type": "lifespan.shutdown.complete"}
    assert (node.name, node.state) == ("web", State.RUNNING)
    await node.arefresh_from_db()
    assert node.state == State.STOPPED
    assert (await finished_run("job")).status == Status.SUCCEEDED


async def test_a_lifespan_of_the_application_encloses_the_scheduler(serve: Serve) -> None:
    """What jobs need of the application is there before them, and until after them."""
    told: list[str] = []
    server = serve(SchedulerLifespan(application_with_lifespan(told)))

    started = await server.tell("startup")
    nodes = await SchedulerNode.objects.filter(state=State.RUNNING).acount()
    stopped = await server.tell("shutdown")

    assert told == ["startup with 0 nodes", "shutdown with 0 nodes"]
    assert nodes == 1
    assert server.scope["state"]["told"] is told
    assert started == {"type": "lifespan.startup.complete", "message": "its own"}
    assert stopped == {"type": "lifespan.shutdown.complete", "message": "its own"}


async def test_an_application_that_fails_to_start_gets_no_scheduler(serve: Serve) -> None:
    """Its message is the server's answer."""
    server = serve(SchedulerLifespan(application_with_lifespan([], answers="failed")))

    answer = await server.tell("startup")

    assert answer == {"type": "lifespan.startup.failed", "message": "its own"}
    assert not await SchedulerNode.objects.aexists()


async def test_a_scheduler_that_fails_to_start_fails_the_server(
    serve: Serve, isolated_registry: Registry
) -> None:
    """The message says why; the application, which had started, is stopped."""
    told: list[str] = []
    scheduled_job("interval", hours=1, id="foreign")(work.mark)
    server = serve(SchedulerLifespan(application_with_lifespan(told)))

    with override_settings(ASYNC_APSCHEDULER={"ALLOWED_MODULES": ["elsewhere"]}):
        answer = await server.tell("startup")

    assert answer["type"] == "lifespan.startup.failed"
    assert answer["message"].startswith("The scheduler does not start. ")
    assert "ALLOWED_MODULES" in answer["message"]
    assert told == ["startup with 0 nodes", "shutdown with 0 nodes"]


async def test_a_server_that_starts_without_database_gets_its_scheduler_later(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """The outage does not keep the web away, and needs no restart."""
    server = serve(SchedulerLifespan(ASGIHandler()))

    async with outage():
        answer = await server.tell("startup")

    assert answer == {"type": "lifespan.startup.complete"}
    assert "starts without its scheduler" in caplog.text
    await await_until(SchedulerNode.objects.filter(state=State.RUNNING).aexists, timeout=40)
    assert await server.tell("shutdown") == {"type": "lifespan.shutdown.complete"}


async def test_what_goes_wrong_after_that_is_logged(
    serve: Serve, caplog: pytest.LogCaptureFixture, isolated_registry: Registry
) -> None:
    """The server serves already; it can no longer be told."""
    scheduled_job("interval", hours=1, id="foreign")(work.mark)
    server = serve(SchedulerLifespan(ASGIHandler()))

    with override_settings(ASYNC_APSCHEDULER={"ALLOWED_MODULES": ["elsewhere"]}):
        async with outage():
            await server.tell("startup")
        await await_until(lambda: "The scheduler does not start" in caplog.text, timeout=40)

    assert await server.tell("shutdown") == {"type": "lifespan.shutdown.complete"}


async def test_a_server_that_does_not_wait_cancels_the_runs(serve: Serve) -> None:
    """Cancelled instead of asked, it still records what it ran."""
    server = serve(SchedulerLifespan(ASGIHandler()))
    await server.tell("startup")
    work.gates["gate"] = asyncio.Event()
    await DjangoJob.objects.aschedule(work.wait_for_gate, args=["gate"], id="job")
    await await_until(lambda: work.seen)

    server.task.cancel()
    await asyncio.wait((server.task,), timeout=20)

    assert server.task.cancelled()
    assert (await finished_run("job")).status == Status.CANCELLED
    assert await SchedulerNode.objects.filter(state=State.STOPPED).aexists()


async def test_what_the_scheduler_says_goes_to_its_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """A server has no place for what the command prints."""
    server = serve(SchedulerLifespan(ASGIHandler()))

    with caplog.at_level(logging.INFO, "async_apscheduler.scheduler"):
        await server.tell("startup")
        await server.tell("shutdown")

    assert "0 jobs; nothing is due" in caplog.text
    assert "Stopping." in caplog.text
