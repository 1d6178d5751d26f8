"""Both ends of the wire: how the desk asks an instrument, and the instruments themselves.

The instruments are played by this very project, so that the example needs no network. That a view
waits is the point: a coroutine asks all of them in the time of the slowest.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from typing import Any
from zlib import crc32

import httpx
from django.conf import settings
from django.http import HttpRequest, JsonResponse

FAULTS = {"tide-gauge": "its float is stuck"}


class InstrumentError(Exception):
    """An instrument reports a fault instead of a value."""


def connected() -> httpx.AsyncClient:
    """Return a client to use with `async with`; no proxy stands between the desk and itself."""
    return httpx.AsyncClient(base_url=settings.INSTRUMENTS_URL, trust_env=False, timeout=5)


async def ask(client: httpx.AsyncClient, slug: str) -> dict[str, Any]:
    """Return the instrument's answer.

    Raises InstrumentError for a fault, and httpx.HTTPError if there is no answer.
    """
    response = await client.get(f"{slug}/")
    answer: dict[str, Any] = response.raise_for_status().json()
    if fault := answer.get("fault"):
        raise InstrumentError(f"The {slug.replace('-', ' ')} does not measure: {fault}.")
    return answer


async def instrument(request: HttpRequest, slug: str) -> JsonResponse:
    """Answer as an instrument does: after a moment, with temperature (°C) and wind (m/s)."""
    await asyncio.sleep(random.uniform(0.2, 1.0))
    if slug in FAULTS:
        return JsonResponse({"fault": FAULTS[slug]})
    place = crc32(slug.encode()) % 60
    swing = math.sin((time.time() / 60 + place) / 2)
    temperature = 8 + place / 6 + 3 * swing + random.uniform(-0.3, 0.3)
    wind = abs(4 + 3 * swing + random.uniform(-1, 1))
    return JsonResponse({"temperature": round(temperature, 1), "wind": round(wind, 1)})
