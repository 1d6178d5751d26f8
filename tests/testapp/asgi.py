"""The ASGI application of the tests, for web servers in processes of their own."""

from __future__ import annotations

from django.core.asgi import get_asgi_application

from async_apscheduler.asgi import SchedulerLifespan

application = SchedulerLifespan(get_asgi_application())
