"""Hostile strings in every string of every request: text is data, never SQL, a pattern, a path or an array.

Each string of each request in turn holds something hostile, the others what is harmless. Whatever is answered, it is no
bug of ours, and no table, row or setting is the worse for it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from ledger_client import LedgerClient
from ledger_client.v1 import ledger_service_pb2
from ledger_client.v1.ledger_service_pb2_grpc import LedgerServiceStub
from tests.conftest import Server
from tests.service.raw import ask, channel_to, connected, request_id
from tests.service.refusing import new_books

SERVICE = ledger_service_pb2.DESCRIPTOR.services_by_name["LedgerService"]
HOSTILE = [
    "'; DROP TABLE entries; --",
    '"}, {"',
    '{NULL,\\"x\\"}',
    "$1' OR 1=1 /*",
    "%_\\",
    "$.keyvalue() ? (1 == 1)",
    "NULL",
    "a\0b",
    "\u202e\U0001f4a3\U0010ffff\ufeff",
    "\u0130" * 1_000,
    "x" * 100_000,
]
# In each string so many of them are tried in `make test`, all in `make test-long`.
TEXTS = 1
# Requests that hold others of themselves are filled in this deep.
DEPTH_MAX = 4


def fill(message: Message, text: str, target: tuple[str, ...], path: tuple[str, ...], books: Any) -> None:
    """Fills every field: the string at the target path with the text, ids with ids that exist."""
    for field in message.DESCRIPTOR.fields:
        here = (*path, field.name)
        if (
            field.containing_oneof is not None
            and not is_towards(here, target)
            and any(is_towards((*path, other.name), target) for other in field.containing_oneof.fields)
        ):
            continue
        if field.type == FieldDescriptor.TYPE_STRING:
            value = text if here == target else harmless(field.name, books)
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
        elif field.type == FieldDescriptor.TYPE_MESSAGE and is_towards(here, target):
            fill_message(message, field, text, target, here, books)


def fill_message(
    message: Message, field: Any, text: str, target: tuple[str, ...], here: tuple[str, ...], books: Any
) -> None:
    value = getattr(message, field.name)
    if field.message_type.GetOptions().map_entry:
        value[text if target[-1] == "key" else "key"] = text
    elif field.is_repeated:
        fill(value.add(), text, target, here, books)
    else:
        fill(value, text, target, here, books)


def is_towards(path: tuple[str, ...], target: tuple[str, ...]) -> bool:
    return target[: len(path)] == path


def harmless(name: str, books: Any) -> str:
    ids = {
        "ledger_id": books.ledger_id,
        "account_id": books.cash,
        "account_ids": books.cash,
        "transaction_id": books.pending,
        "transaction_ids": books.pending,
        "entry_id": books.posted_entry,
        "request_id": request_id(),
        "name": "x",
        "currency": "USD",
        "amount": "1",
        "key": "k",
    }
    return str(ids.get(name, ""))


def strings_of(message: Descriptor, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for field in message.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            found.append((*path, field.name))
        elif field.type == FieldDescriptor.TYPE_MESSAGE and field.message_type is not None and len(path) < DEPTH_MAX:
            found += strings_of(field.message_type, (*path, field.name))
    return found


METHODS = [m.name for m in SERVICE.methods if not (m.client_streaming or m.server_streaming)]


@pytest.mark.parametrize("method", METHODS)
async def test_some_hostile_strings_are_nothing_but_text(method: str, server: Server, client: LedgerClient) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    await send_hostile(method, server, client, lambda: chance.sample(HOSTILE, TEXTS))


@pytest.mark.long
@pytest.mark.parametrize("method", METHODS)
async def test_all_hostile_strings_are_nothing_but_text(method: str, server: Server, client: LedgerClient) -> None:
    await send_hostile(method, server, client, lambda: HOSTILE)


async def send_hostile(method: str, server: Server, client: LedgerClient, texts: Callable[[], list[str]]) -> None:
    books = await new_books(client)
    request_class = GetMessageClass(SERVICE.methods_by_name[method].input_type)
    async with channel_to(server.address) as channel, connected(server.dsn) as tables:
        tables_before = await tables_of(tables)
        stub = LedgerServiceStub(channel)
        for path in strings_of(SERVICE.methods_by_name[method].input_type):
            for text in texts():
                request = request_class()
                fill(request, text, path, (), books)
                answer = await ask(stub, method, request)
                told = "OK" if answer.refusal is None else answer.refusal.code
                assert told not in ("INTERNAL", "UNKNOWN", "UNAVAILABLE"), (path, text[:40], answer.refusal)
        assert await tables_of(tables) == tables_before


async def tables_of(tables: asyncpg.Connection[asyncpg.Record]) -> list[str]:
    rows = await tables.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
    return [row["tablename"] for row in rows]


async def test_what_was_written_hostile_is_read_and_found_as_it_was_written(client: LedgerClient) -> None:
    ledger = await client.create_ledger("Hostile")
    for text in HOSTILE:
        if "\0" in text or len(text) > 180:
            continue
        account = await client.create_account(
            ledger.id, text, normal_balance="debit", currency="USD", external_id=text, metadata={text[:64]: text}
        )
        assert (account.name, account.external_id, dict(account.metadata)) == (text, text, {text[:64]: text})
        for filters in ({"names": [text]}, {"external_id": text}, {"metadata": {text[:64]: text}}):
            found = [each.id async for each in client.accounts(ledger.id, **filters)]
            # A part of a name may be that of another one too.
            assert account.id in found if "names" in filters else found == [account.id], (text, filters)
