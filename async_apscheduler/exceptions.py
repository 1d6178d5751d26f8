"""Every error that this package raises of its own.

    AsyncAPSchedulerError
    ├── ConfigurationError          a setting is unknown or has a wrong value
    ├── InvalidJobError             a job is refused when it is added; nothing was stored
    │   ├── InvalidJobIdError       the id cannot be kept exactly
    │   ├── ReferenceNotAllowedError  the function lies outside ALLOWED_MODULES
    │   ├── UnresolvableReferenceError  the function does not exist, or its module fails to import
    │   ├── UnserializableArgumentError  an argument that JSON cannot carry
    │   └── InvalidTriggerError     the trigger is wrong, or can never fire
    ├── UnreadableJobError          a stored job that cannot be restored; the row is kept
    ├── MalformedValueError         stored JSON that the codec never wrote
    ├── TamperedValueError          a stored pickle that was not signed with SECRET_KEY
    ├── SynchronousCallError        a blocking call on a running event loop
    ├── SchedulerNotReadyError      the database lacks the tables, or its environment differs
    ├── NodeEvictedError            another node has taken over from this one
    └── RunNotFinishedError         join() gave up waiting

Two more come from APScheduler, whose contract the job store keeps: ``JobLookupError`` and
``ConflictingIdError``.
"""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured


class AsyncAPSchedulerError(Exception):
    """Base of every error raised by async_apscheduler."""


class ConfigurationError(AsyncAPSchedulerError, ImproperlyConfigured):
    """The ASYNC_APSCHEDULER setting is wrong."""


class InvalidJobError(AsyncAPSchedulerError, ValueError):
    """A job cannot be added or changed as asked; nothing was stored."""


class InvalidJobIdError(InvalidJobError):
    """The id of a job cannot be stored exactly."""


class ReferenceNotAllowedError(InvalidJobError):
    """A function reference points outside the allowed modules."""


class UnresolvableReferenceError(InvalidJobError):
    """A function reference points to nothing that can be imported and called."""


class UnserializableArgumentError(InvalidJobError):
    """An argument of a job cannot be stored."""


class InvalidTriggerError(InvalidJobError):
    """A trigger has wrong arguments, cannot be stored, or can never fire."""


class UnreadableJobError(AsyncAPSchedulerError):
    """The stored state of a job cannot be restored."""

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(
            f"Cannot restore job {job_id!r}: {reason} The row is kept; "
            "correct it in the code or in the admin, or delete the job."
        )
        self.job_id = job_id
        self.reason = reason


class MalformedValueError(AsyncAPSchedulerError, ValueError):
    """A stored value is not what the codec writes: unknown type, or damaged."""


class TamperedValueError(AsyncAPSchedulerError):
    """A stored pickle has no valid signature, so it was not unpickled."""


class SynchronousCallError(AsyncAPSchedulerError, RuntimeError):
    """A method that waits for the database was called on a running event loop."""

    def __init__(self, method: str, twin: str) -> None:
        super().__init__(
            f"{method}() waits for the database and would stop the event loop. "
            f"Use `await scheduler.{twin}(...)` here."
        )
        self.twin = twin


class SchedulerNotReadyError(AsyncAPSchedulerError):
    """A scheduler cannot start on this database as it is."""


class NodeEvictedError(AsyncAPSchedulerError):
    """Other nodes have declared this node lost and taken over its work."""


class RunNotFinishedError(AsyncAPSchedulerError, TimeoutError):
    """A run had not ended within the time that join() was given."""
