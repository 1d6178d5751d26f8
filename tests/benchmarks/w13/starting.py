"""A process that declares jobs, starts a scheduler and says how long that took.

python -m tests.benchmarks.w13.starting ours 1000
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module
from typing import cast

from tests.benchmarks.measuring import peak_rss
from tests.benchmarks.node import DURABILITY
from tests.benchmarks.project import configure, spare_the_collector
from tests.benchmarks.sides import SIDES, Durability
from tests.databases import Vendor


def main() -> None:
    side, jobs = SIDES[sys.argv[1]], int(sys.argv[2])
    vendor = cast(Vendor, os.environ.get("TEST_DATABASE", "sqlite"))
    configure(side, vendor, cast(Durability, os.environ.get(DURABILITY, "full")))
    started = import_module(f"{__package__}.start_{side.module}")
    spare_the_collector()
    begun = time.perf_counter()
    started.start(jobs)
    seconds = time.perf_counter() - begun
    print(json.dumps({"seconds": seconds, "peak_rss": peak_rss()}), flush=True)
    os._exit(0)  # it need not stop


if __name__ == "__main__":
    main()
