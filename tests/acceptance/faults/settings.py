"""Django settings of the schedulers under test: a short lease, so that rescues take seconds.

`FAULTS_SETTINGS` holds further entries of ASYNC_APSCHEDULER, as JSON.
"""

from __future__ import annotations

import json
import os
from typing import Any

from tests import settings as base
from tests.settings import *  # noqa: F403  how Django settings extend others

INSTALLED_APPS = [*base.INSTALLED_APPS, "tests.acceptance.faults"]

HEARTBEAT_INTERVAL = 1.0
NODE_TIMEOUT = 3.0

ASYNC_APSCHEDULER: dict[str, Any] = {
    "HEARTBEAT_INTERVAL": HEARTBEAT_INTERVAL,
    "NODE_TIMEOUT": NODE_TIMEOUT,
    **json.loads(os.environ.get("FAULTS_SETTINGS", "{}")),
}
