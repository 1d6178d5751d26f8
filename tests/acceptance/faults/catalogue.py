"""All faults: what happens, how it is injected, and which spoil shows that it would be seen.

It can be read without Django; the scenarios themselves are in the modules that `play` names.
"""

from __future__ import annotations

from tests.acceptance.faults.fault import Fault
from tests.acceptance.faults.machine import no_faketime, no_limits
from tests.databases import Vendor

SERVERS: tuple[Vendor, ...] = ("postgresql", "mariadb")
SQLITE: tuple[Vendor, ...] = ("sqlite",)

_FAULTS = (
    Fault(
        name="race",
        title="3 schedulers race over 1,000 due jobs",
        injection="one-off and hourly, `def` and `async def`, due at one instant",
        play="races:race",
        spoil="upstream",
        rounds=10,
    ),
    Fault(
        name="kill",
        title="`kill -9` in the middle of runs, two others alive",
        injection="SIGKILL for one of three processes with 90 three-second jobs",
        play="deaths:kill",
        spoil="never-rescue",
        rounds=20,
    ),
    Fault(
        name="kill-alone",
        title="`kill -9` of the only scheduler, then a restart",
        injection="SIGKILL, and a new process",
        play="deaths:kill_alone",
        spoil="never-rescue",
        rounds=20,
    ),
    Fault(
        name="kill-between",
        title="`kill -9` between claim and start, and between end and record",
        injection="SIGKILL at exactly these two places, by a hook",
        play="deaths:kill_between",
        spoil="never-rescue",
        rounds=10,
    ),
    Fault(
        name="crash",
        title="jobs that end the process they run in",
        injection="`os._exit`, SIGSEGV, and one that does it at each attempt",
        play="deaths:crash",
        spoil="never-rescue",
    ),
    Fault(
        name="raise",
        title="jobs raise whatever can be raised",
        injection="`SystemExit`, `GeneratorExit`, 10 MB of text, no text, ...",
        play="misdeeds:raise_everything",
        spoil="short-tempered",
    ),
    Fault(
        name="endless",
        title="jobs never end, and become due again and again",
        injection="a coroutine and a function, on two schedulers",
        play="misdeeds:never_end",
        spoil="headlong",
    ),
    Fault(
        name="freeze",
        title="frozen for three leases, then awake again",
        injection="SIGSTOP, another scheduler takes over, SIGCONT",
        play="freezes:freeze",
        spoil="no-fence",
        rounds=10,
    ),
    Fault(
        name="block",
        title="a job blocks the event loop for longer than the lease",
        injection="`time.sleep` in an `async def`, on one of three schedulers",
        play="freezes:block",
        spoil="jobs",
    ),
    Fault(
        name="drain",
        title="SIGTERM with 20 runs, with an endless run, and twice",
        injection="signals; another scheduler stays",
        play="drains:drain",
        spoil="hasty",
    ),
    Fault(
        name="connections",
        title="connections killed at random",
        injection="`pg_terminate_backend` or `KILL`, 200 (quick: 40), a job each 50 ms",
        play="outages:kill_connections",
        spoil="brittle",
        vendors=SERVERS,
    ),
    Fault(
        name="commits",
        title="one commit in five fails",
        injection="an error before or after the commit, by a hook, on two schedulers",
        play="outages:fail_commits",
        spoil="forgetful",
    ),
    Fault(
        name="restart",
        title="the server crashes and comes back",
        injection="SIGKILL at a random phase, 3 or 60 s down (quick: 5 s)",
        play="outages:restart",
        spoil="brittle",
        vendors=SERVERS,
        own_server=True,
        rounds=10,
    ),
    Fault(
        name="hang",
        title="the server hangs",
        injection="SIGSTOP for the server, 60 s (quick: 15 s)",
        play="outages:hang",
        spoil="brittle",
        vendors=SERVERS,
        own_server=True,
    ),
    Fault(
        name="hang-stop",
        title="SIGTERM, twice, while the server hangs",
        injection="SIGSTOP for the server; one scheduler works, one is only starting",
        play="drains:stop_while_server_hangs",
        spoil="loyal",
        vendors=SERVERS,
        own_server=True,
    ),
    Fault(
        name="locked",
        title="SQLite's file is locked by another process",
        injection="`BEGIN EXCLUSIVE` for 30 s (quick: 8 s)",
        play="sqlite_files:locked",
        spoil="brittle",
        vendors=SQLITE,
    ),
    Fault(
        name="busy",
        title="another process writes to SQLite's file without end",
        injection="the write lock taken and left each millisecond for 60 s (quick: 8 s)",
        play="sqlite_files:busy",
        spoil="upstream",
        vendors=SQLITE,
    ),
    Fault(
        name="full",
        title="the disk below SQLite's file is full",
        injection="RLIMIT_FSIZE of the process lowered for 20 s (quick: 8 s)",
        play="sqlite_files:full",
        spoil="brittle",
        vendors=SQLITE,
        why_not=no_limits,
    ),
    Fault(
        name="clock-forward",
        title="the clock jumps an hour forward",
        injection="libfaketime, for the scheduler's process",
        play="clocks:forward",
        spoil="own-clock",
        why_not=no_faketime,
    ),
    Fault(
        name="clock-backward",
        title="the clock jumps an hour back",
        injection="libfaketime, for the scheduler's process",
        play="clocks:backward",
        spoil="upstream",
        why_not=no_faketime,
    ),
    Fault(
        name="skew",
        title="the clocks of three hosts are two minutes apart",
        injection="libfaketime: +60 s, 0 and -60 s",
        play="clocks:skew",
        spoil="own-clock",
        vendors=SERVERS,
        why_not=no_faketime,
    ),
    Fault(
        name="querying",
        title="20,000 jobs that use the ORM",
        injection="coroutines and functions by turns, connections counted on the server",
        play="long_life:keep_querying",
        spoil="jobs",
        vendors=SERVERS,
        long_only=True,
        rounds=1,
    ),
    Fault(
        name="falling",
        title="100,000 runs of which half raise",
        injection="memory of the process, over the last 60,000 runs",
        play="long_life:keep_falling",
        spoil="jobs",
        long_only=True,
        rounds=1,
    ),
)
FAULTS = {fault.name: fault for fault in _FAULTS}
