"""The scheduler class for people who write their own command."""

from async_apscheduler.engine.scheduler import DjangoScheduler

__all__ = ["DjangoScheduler"]
