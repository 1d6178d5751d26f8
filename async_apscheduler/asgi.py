"""A scheduler inside an ASGI server: ``application = SchedulerLifespan(get_asgi_application())``.

The server tells its applications when it starts and stops (ASGI calls that the lifespan); the
scheduler starts and stops with it, so that there is no second process to look after.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from async_apscheduler.exceptions import AsyncAPSchedulerError
from async_apscheduler.masking import masked_text

if TYPE_CHECKING:  # at run time Django may not be set up when this module is imported
    from async_apscheduler.engine.runner import Runner

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger("async_apscheduler.scheduler")

HINT = "the server waits for them"


class SchedulerLifespan:
    """An ASGI application that runs a scheduler while its server runs, and is `application` else.

    `scheduler_options` are DjangoScheduler's. Each worker process of the server has a scheduler;
    they share the work as any schedulers do. If the scheduler cannot start, the server is told so
    and ends. If the database does not answer, the server starts all the same, and the scheduler
    when it does. A lifespan of `application` begins before the scheduler's and ends after it.
    """

    def __init__(self, application: Application, **scheduler_options: Any) -> None:
        self._application = application
        self._options = scheduler_options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        else:
            await self._application(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        wrapped = _WrappedLifespan(self._application, scope)
        life = _SchedulerLife(self._options)
        try:
            await receive()
            answer = await wrapped.tell("startup")
            if not _failed(answer) and (problem := await life.begin()):
                await wrapped.tell("shutdown")
                answer = {"type": "lifespan.startup.failed", "message": problem}
            await send(answer or {"type": "lifespan.startup.complete"})
            if _failed(answer):
                return
            await receive()
            await life.end()
            answer = await wrapped.tell("shutdown")
            await send(answer or {"type": "lifespan.shutdown.complete"})
        finally:  # also if the server cancels this instead of asking
            await life.end(hurry=True)
            wrapped.cancel()


class _SchedulerLife:
    """The scheduler's part."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._runner: Runner | None = None
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> str:
        """Start, and return why that failed, or "".

        Returns when the scheduler works, or has to wait for the database.
        """
        from async_apscheduler.engine.runner import Runner

        try:
            runner = self._runner = Runner(logger.info, hint=HINT, **self._options)
            self._task = asyncio.create_task(runner.run(), name="scheduler")
            await _first_of(self._task, runner.works.wait(), runner.waits.wait())
            if self._task.done():
                await self._task
        except AsyncAPSchedulerError as error:
            return _problem(error)
        except Exception as error:
            logger.exception("The error in full")
            return _problem(error)
        if not runner.works.is_set():
            logger.warning("The server starts without its scheduler, which waits for the database")
        self._task.add_done_callback(_tell_failure)
        return ""

    async def end(self, *, hurry: bool = False) -> None:
        """Let the runs end, or with `hurry` cancel them, and stop."""
        if self._runner is None or self._task is None or self._task.done():
            return
        for _ in range(2 if hurry else 1):
            self._runner.stop()
        await asyncio.wait((self._task,))


class _WrappedLifespan:
    """The lifespan of the wrapped application, if it has one."""

    def __init__(self, application: Application, scope: Scope) -> None:
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outbox: asyncio.Queue[Message | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._live(application, scope))

    async def tell(self, event: str) -> Message | None:
        """Pass an event on and return what the application answers; None if it does not."""
        if self._task.done() and self._outbox.empty():
            return None
        await self._inbox.put({"type": f"lifespan.{event}"})
        return await self._outbox.get()

    def cancel(self) -> None:
        """End it, if it has not ended."""
        self._task.cancel()

    async def _live(self, application: Application, scope: Scope) -> None:
        try:
            await application(scope, self._inbox.get, self._outbox.put)
        except Exception:  # which is how an application says that it has none, as Django does
            logger.debug("The wrapped application has no lifespan", exc_info=True)
        finally:
            self._outbox.put_nowait(None)


async def _first_of(task: asyncio.Task[None], *others: Awaitable[object]) -> None:
    """Wait for the first of them to end."""
    waiting = [asyncio.ensure_future(other) for other in others]
    try:
        await asyncio.wait((task, *waiting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for other in waiting:
            other.cancel()


def _failed(answer: Message | None) -> bool:
    return answer is not None and answer["type"].endswith(".failed")


def _problem(error: BaseException) -> str:
    kind = "" if isinstance(error, AsyncAPSchedulerError) else f"{type(error).__name__}: "
    return f"The scheduler does not start. {kind}{masked_text(str(error))}"


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("%s", _problem(error), exc_info=error)
