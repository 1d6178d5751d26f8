"""A scheduler in a process of its own, on the database of the measurement that starts it.

    python -m tests.benchmarks.node ours

says on stdout when it begins to start and when it is ready, runs until its stdin is closed, and
then says what it took. `nodes.py` is the other end of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from typing import cast

from tests.benchmarks.measuring import peak_rss
from tests.benchmarks.peers import peer_of
from tests.benchmarks.project import configure, spare_the_collector
from tests.benchmarks.sides import SIDES, Durability, Side
from tests.databases import Vendor

DURABILITY = "BENCHMARK_DURABILITY"
"""Name of the environment variable that holds the durability of the measurement."""


def main() -> None:
    side = SIDES[sys.argv[1]]
    vendor = cast(Vendor, os.environ.get("TEST_DATABASE", "sqlite"))
    configure(side, vendor, cast(Durability, os.environ.get(DURABILITY, "full")))
    asyncio.run(_run(side))
    # Threads that still run a job must not keep the process.
    sys.stdout.flush()
    os._exit(0)


async def _run(side: Side) -> None:
    peer = peer_of(side)
    spare_the_collector()
    _say(starting_at=time.time())
    await peer.start()
    _say(pid=os.getpid())
    await asyncio.to_thread(sys.stdin.read)
    used = resource.getrusage(resource.RUSAGE_SELF)
    _say(peak_rss=peak_rss(), cpu_seconds=used.ru_utime + used.ru_stime)
    await peer.stop()


def _say(**what: float) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
