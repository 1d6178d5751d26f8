"""Several statements in one message: as if they had been sent one after the other."""

from __future__ import annotations

from threading import Thread

import pytest
from django.db import IntegrityError, connections, transaction
from django.test.utils import CaptureQueriesContext

from async_apscheduler._database import (
    Statement,
    all_rows,
    nothing,
    rows_found,
    send,
    send_together,
)
from tests.databases import Vendor
from tests.support import committed_data
from tests.testapp.models import Note

pytestmark = committed_data

TABLE = Note._meta.db_table
ALL = Statement(f"SELECT text FROM {TABLE} ORDER BY id", (), all_rows)


def insert(*texts: str) -> Statement[None]:
    """Return a statement that inserts notes, all in one or each in a statement of its own."""
    return Statement(
        f"INSERT INTO {TABLE} (text) VALUES (%s)",
        [[text] for text in texts] if len(texts) > 1 else texts,
        nothing,
        is_many=len(texts) > 1,
    )


def update(before: str, after: str) -> Statement[int]:
    """Return a statement that changes the text of notes."""
    return Statement(f"UPDATE {TABLE} SET text = %s WHERE text = %s", (after, before), rows_found)


def test_each_is_executed_and_read_in_turn() -> None:
    """Each sees what those before it have done; what looks like SQL in a value is a value."""
    odd = "100 %; DELETE '"

    answers = send_together("default", [insert("one"), ALL, update("one", odd), ALL])

    assert answers == [None, [("one",)], 1, [(odd,)]]


def test_one_that_is_many_goes_with_the_others() -> None:
    """Where a database takes no table as a parameter."""
    answers = send_together("default", [insert("one", "two"), ALL])

    assert answers == [None, [("one",), ("two",)]]


def test_a_transaction_begins_with_the_first_of_them(database: Vendor) -> None:
    """psycopg would send BEGIN alone; whoever sends it, all of it can be undone."""
    with CaptureQueriesContext(connections["default"]) as queries, transaction.atomic():
        send_together("default", [insert("one"), update("one", "two")])
        send_together("default", [insert("three"), ALL])
        transaction.set_rollback(True)

    assert not Note.objects.exists()
    sent = [query["sql"] for query in queries if TABLE in query["sql"]]
    assert len(sent) == (2 if database == "postgresql" else 4)


def test_a_transaction_ends_as_any_other() -> None:
    """It is committed, and the next one, Django's own, is as well."""
    with transaction.atomic():
        send_together("default", [insert("one"), ALL])
    with transaction.atomic():
        Note.objects.create(text="two")
    send("default", insert("three"))

    connections["default"].close()
    assert send("default", ALL) == [("one",), ("two",), ("three",)]


def test_inside_a_transaction_that_has_begun_they_belong_to_it() -> None:
    """A savepoint around them is rolled back alone."""
    with transaction.atomic():
        Note.objects.create(text="one")
        with transaction.atomic():
            send_together("default", [insert("two"), ALL])
            transaction.set_rollback(True)
        send_together("default", [insert("three"), ALL])

    assert send("default", ALL) == [("one",), ("three",)]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_error_of_one_undoes_them_all(place: int) -> None:
    """It is the error that Django would raise, and the connection can go on."""
    statements = [insert("one"), insert("two"), insert("three")]
    clash = Statement(f"INSERT INTO {TABLE} (id, text) VALUES (%s, %s)", (7, "clash"), nothing)
    Note.objects.create(pk=7, text="there")

    with pytest.raises(IntegrityError), transaction.atomic():
        send_together("default", [*statements[:place], clash, *statements[place:]])

    assert send("default", ALL) == [("there",)]
    with transaction.atomic():
        assert send_together("default", [insert("four"), update("four", "five")]) == [None, 1]


def test_a_driver_that_leaves_values_to_the_server_sends_them_alone(
    database: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a message has one statement."""
    if database != "postgresql":
        pytest.skip("only psycopg has this option")
    options = {"server_side_binding": True}
    monkeypatch.setitem(connections.settings["default"], "OPTIONS", options)
    answers = []

    def work() -> None:
        with transaction.atomic():
            answers.extend(send_together("default", [insert("one"), update("one", "two"), ALL]))
        connections.close_all()

    thread = Thread(target=work)  # which has a connection of its own, with these options
    thread.start()
    thread.join(30)

    assert answers == [None, 1, [("two",)]]
