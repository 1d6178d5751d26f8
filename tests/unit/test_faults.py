"""What the faults' command makes of its rounds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.faults import command
from tests.acceptance.faults.catalogue import FAULTS
from tests.acceptance.faults.fault import Outcome
from tests.acceptance.faults.playing import Played, kept_line, played_before
from tests.databases import Vendor


def played(name: str, vendor: Vendor, **counts: object) -> Played:
    """Return a round of a fault."""
    return Played(FAULTS[name], vendor, Outcome(**counts))  # type: ignore[arg-type]  # a shorthand


ROUNDS = [
    played("kill", "sqlite", due=90, recovery=3.1, seen=["35 cut short"]),
    played("kill", "sqlite", due=90, recovery=3.9),
    played("kill", "mariadb", due=90, recovery=2.0),
    played("restart", "postgresql", due=1200, lost=1, broken=["1 lost without a word"]),
    Played(FAULTS["skew"], "mariadb", skipped="libfaketime is not installed"),
]


@pytest.mark.parametrize("number", range(len(ROUNDS)))
def test_a_round_that_is_kept_is_read_as_it_was(number: int) -> None:
    """Counts, figures, broken promises, and the reason why there are none."""
    assert played_before(kept_line(ROUNDS[number], number)) == ROUNDS[number]


@pytest.fixture
def read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[list[Played]], tuple[int, str]]:
    """Return a function that keeps rounds in two files, reads them, and returns code and output."""

    def keep_and_read(rounds: list[Played]) -> tuple[int, str]:
        files = [tmp_path / "first", tmp_path / "second"]
        for file, part in zip(files, (rounds[:2], rounds[2:]), strict=True):
            file.write_text("".join(f"{kept_line(one, 1)}\n" for one in part))
        monkeypatch.setattr("sys.argv", ["run", "--read", *map(str, files)])
        return command.main(), capsys.readouterr().out

    return keep_and_read


def cells_of(printed: str, fault: str) -> list[str]:
    """Return what the table says of a fault, behind what it is and how it is injected."""
    (line,) = [line for line in printed.splitlines() if line.startswith(f"| {FAULTS[fault].title}")]
    return [cell.strip() for cell in line.strip("|").split("|")][2:]


def test_kept_rounds_are_added_up_to_a_line_for_each_fault(
    read: Callable[[list[Played]], tuple[int, str]],
) -> None:
    """From all files; of each database the slowest recovery counts."""
    code, printed = read(ROUNDS[:3])

    assert code == 0
    assert cells_of(printed, "kill") == ["3", "270", "0", "0", "3.9", "2.0", "yes"]


def test_a_broken_promise_is_told_and_fails_it_all(
    read: Callable[[list[Played]], tuple[int, str]],
) -> None:
    """In the table, and in words; so is what could not be played."""
    code, printed = read(ROUNDS)

    assert code == 1
    assert cells_of(printed, "restart") == ["1", "1,200", "1", "0", "", "-", "", "NO"]
    assert "- restart on postgresql: 1 lost without a word" in printed
    assert "- skew on mariadb: libfaketime is not installed" in printed
