"""Hostile strings in every string of every request: text is data, never SQL, a pattern, a path or an array.

Each string of each request of each service in turn holds something hostile, the others what is harmless. Whatever is
answered, it is no bug of ours, and no table, row or setting is the worse for it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, MutableMapping
from typing import Any

import asyncpg
import grpc.aio
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from ledger_client import LedgerClient
from ledger_client.v1 import admin_service_pb2, ledger_service_pb2
from ledger_client.v1.filters_pb2 import MetadataTerm
from tests.conftest import Server
from tests.patience import PATIENCE_SECONDS
from tests.service.raw import Answer, answer_of, channel_to, connected, request_id
from tests.service.refusing import new_books

METHODS = {
    method.name: method
    for file, service in ((ledger_service_pb2, "LedgerService"), (admin_service_pb2, "LedgerAdminService"))
    for method in file.DESCRIPTOR.services_by_name[service].methods
}
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


# What each request is given besides the string in question, so that it is refused for nothing else.
BASES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "CreateLedger": lambda _: {"name": "x"},
    "ListLedgers": lambda _: {},
    "CreateAccount": lambda b: message_values(b.account()),
    "BatchCreateAccounts": lambda _: {"accounts": [{"name": "x", "normal_balance": 1, "currency": "USD"}]},
    "BatchGetAccounts": lambda b: {"account_ids": [b.cash]},
    "CreateTransaction": lambda b: message_values(b.create()),
    "BatchWriteTransactions": lambda b: {"commands": [{"create": message_values(b.create())}]},
    "ImportTransactions": lambda b: {"commands": [{"create": message_values(b.create(request_id=""))}]},
    "UpdateTransaction": lambda b: {"transaction_id": b.pending, "entries": lines_of(b)},
    "PostTransaction": lambda b: {"transaction_id": b.pending, "entries": lines_of(b)},
    "PartialPostTransaction": lambda b: {"transaction_id": b.pending, "entries": lines_of(b)},
    "ReverseTransaction": lambda b: {"transaction_id": b.posted, "entries": lines_of(b)},
    "BatchGetTransactions": lambda b: {"transaction_ids": [b.pending]},
    "CreateCategory": lambda _: {"name": "x", "normal_balance": 1, "currency": "USD"},
    "AddCategoryMember": lambda b: {"category_id": b.top, "account_id": b.revenue},
    "RemoveCategoryMember": lambda b: {"category_id": b.top, "account_id": b.revenue},
    "CreateBalanceMonitor": lambda b: message_values(b.create_monitor()),
    "ListAccountVersions": lambda b: {"account_id": b.cash},
    "ListTransactionVersions": lambda b: {"transaction_id": b.pending},
    "ExplainBalance": lambda b: {"account_id": b.cash},
}
# What names the object of a request that is none of these, and lists nothing.
NAMES = {
    "account_id": "cash",
    "transaction_id": "pending",
    "entry_id": "posted_entry",
    "category_id": "top",
    "monitor_id": "monitor",
}
# Strings of a form of their own, of which most texts are none.
FORMED = {"currency", "page_token", "epoch", "amount", "value", "resolve_value", "min", "max", "digest", "paths"}


# The commands of a batch, and the requests that they are.
COMMANDS = {
    "create": "CreateTransaction",
    "update": "UpdateTransaction",
    "post": "PostTransaction",
    "archive": "ArchiveTransaction",
    "partial_post": "PartialPostTransaction",
    "reverse": "ReverseTransaction",
}


def lines_of(books: Any) -> list[dict[str, Any]]:
    return [
        {"account_id": books.cash, "direction": 1, "amount": "1"},
        {"account_id": books.revenue, "direction": 2, "amount": "1"},
    ]


def message_values(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True, use_integers_for_enums=True)


def base_of(method: str, books: Any) -> Any:
    """A request that is refused for nothing that it says."""
    request = GetMessageClass(METHODS[method].input_type)()
    fields = request.DESCRIPTOR.fields_by_name
    values = BASES[method](books) if method in BASES else {}
    if method not in BASES and not method.startswith(("List", "Watch")):
        values = {name: getattr(books, own) for name, own in NAMES.items() if name in fields}
    if "ledger_id" in fields:
        values["ledger_id"] = books.ledger_id
    # Of a batch that is not atomic each command has its own.
    if "request_id" in fields and method != "BatchWriteTransactions":
        values["request_id"] = request_id()
    return json_format.ParseDict(values, request)


def put(message: Any, path: tuple[str, ...], text: str, books: Any) -> None:
    """Sets the string at a path. What is in between and was not there says nothing that it would be refused for."""
    name, *rest = path
    field = message.DESCRIPTOR.fields_by_name[name]
    value = getattr(message, name)
    if not rest:
        if field.is_repeated:
            value.append(text)
        else:
            setattr(message, name, text)
    elif isinstance(value, MutableMapping):
        value[text if rest == ["key"] else "key"] = text if rest == ["value"] else "value"
    elif field.is_repeated:
        if not value:
            settle(value.add())
        put(value[0], tuple(rest), text, books)
    else:
        if name in COMMANDS:
            # Of an atomic batch, and of an import, none has one.
            own_request_id = message.create.request_id
            value.CopyFrom(base_of(COMMANDS[name], books))
            value.request_id = own_request_id
        elif not message.HasField(name):
            settle(value)
        if name == "filter":
            message.key = ""
        put(value, tuple(rest), text, books)


def settle(message: Message) -> None:
    """Sets what a new part of a request must have."""
    for field in message.DESCRIPTOR.fields:
        if field.is_repeated or field.containing_oneof is not None:
            continue
        if field.type == FieldDescriptor.TYPE_ENUM:
            setattr(message, field.name, 1)
        elif field.name in ("key", "amount", "value"):
            setattr(message, field.name, "1")
    if isinstance(message, MetadataTerm):
        message.present = True


def strings_of(message: Descriptor, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for field in message.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            found.append((*path, field.name))
        elif field.type == FieldDescriptor.TYPE_MESSAGE and field.message_type is not None and len(path) < DEPTH_MAX:
            found += strings_of(field.message_type, (*path, field.name))
    return found


def is_formed(path: tuple[str, ...]) -> bool:
    return path[-1] in FORMED or path[-1].endswith(("_id", "_ids")) or path[-1] == "ids"


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


@pytest.mark.parametrize("method", METHODS)
async def test_what_hostile_strings_are_tried_in_is_refused_for_nothing_else(
    method: str, server: Server, client: LedgerClient
) -> None:
    """A harmless text in the same place passes all checks of fields, so a hostile one gets as far as it can."""
    books = await new_books(client)
    async with channel_to(server.address) as channel:
        for path in strings_of(METHODS[method].input_type):
            if is_formed(path):
                continue
            request = base_of(method, books)
            put(request, path, "harmless", books)
            refusal = (await send(channel, method, request)).refusal
            assert refusal is None or refusal.code != "INVALID_ARGUMENT", (path, refusal.fields, refusal.message)


async def send_hostile(method: str, server: Server, client: LedgerClient, texts: Callable[[], list[str]]) -> None:
    books = await new_books(client)
    async with channel_to(server.address) as channel, connected(server.dsn) as tables:
        tables_before = await tables_of(tables)
        for path in strings_of(METHODS[method].input_type):
            for text in texts():
                request = base_of(method, books)
                put(request, path, text, books)
                answer = await send(channel, method, request)
                told = "OK" if answer.refusal is None else answer.refusal.code
                assert told not in ("INTERNAL", "UNKNOWN", "UNAVAILABLE"), (path, text[:40], answer.refusal)
        assert await tables_of(tables) == tables_before


async def send(channel: grpc.aio.Channel, method: str, request: Message) -> Answer:
    """The answer, of a stream the first; of one that only waits for what comes, that it was let in."""
    described = METHODS[method]
    path = f"/{described.containing_service.full_name}/{method}"
    answered = GetMessageClass(described.output_type).FromString
    if described.client_streaming:
        stream: Any = channel.stream_stream(path, type(request).SerializeToString, answered)
        call = stream(iter([request]), timeout=PATIENCE_SECONDS)
    elif described.server_streaming:
        call = channel.unary_stream(path, type(request).SerializeToString, answered)(request, timeout=PATIENCE_SECONDS)
    else:
        call = channel.unary_unary(path, type(request).SerializeToString, answered)(request, timeout=PATIENCE_SECONDS)
    return await answer_of(call, streaming=described.server_streaming)


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
