"""Fingerprints: how a repeated request is told from another request under the same request_id.

They are kept with the outcomes, and compared with what other versions of this service make of a request. So they are
made of its canonical form, JSON without spaces and in ASCII, in which what is absent leaves no trace:

| what                                        | is told as                                                    |
|---------------------------------------------|---------------------------------------------------------------|
| a command                                   | an object: its method, and the fields by which it is compared |
| a Ref that is a field of a command          | two fields, named as in the request                           |
| any other NamedTuple                        | an object                                                     |
| a field at its default, None if it has none | nothing: so a new one leaves the fingerprints of before alone |
| numbers, enums and truth values             | integers                                                      |
| times                                       | texts: ISO 8601, in UTC                                       |
| maps and sets                               | objects and arrays, sorted                                    |

A fingerprint is a byte for this format, then 16 bytes of BLAKE2b over the form, which decide, then two for each field
of the class, without zeros at the end. They name the first field that differs without keeping the request (in one of
65,536 cases a later one). Whoever changes the format goes on making this one for what is stored in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from functools import cache
from hashlib import blake2b
from json.encoder import encode_basestring_ascii as quoted
from operator import attrgetter
from struct import Struct
from types import NoneType, UnionType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints
from zlib import crc32

from ledger_server.domain.commands import Command
from ledger_server.domain.inputs import Ref

_FORMAT = b"\1"
_DIGEST_BYTES = 16
_MARKS_AT = len(_FORMAT) + _DIGEST_BYTES

_Tell = Callable[[Any], str]
# How a command's field is read, its default, its key and how it is told; plain tuples are the quickest to take apart.
_Field = tuple[Callable[[Command], Any], Any, str, _Tell]


class _Form(NamedTuple):
    """How commands of a class are told."""

    head: bytes
    names: list[str]
    fields: list[_Field]
    pack: Callable[..., bytes]


def fingerprint(command: Command) -> bytes:
    """What is stored beside the outcome of a command."""
    form = _FORMS[type(command)]
    parts = _parts(command, form)
    digest = blake2b(b"".join(parts), digest_size=_DIGEST_BYTES).digest()
    marks = form.pack(*[crc32(part) & 0xFFFF if part else 0 for part in parts])
    return _FORMAT + digest + marks.rstrip(b"\0")


def first_difference(stored: bytes, own: bytes, command: Command) -> str | None:
    """The first field in which the command, whose fingerprint is `own`, differs from the stored one; None: the same.

    "request" if it is none that the command has: a later version of it may have more.
    """
    if own == stored:
        return None
    for n, name in enumerate(["method", *field_names(type(command))]):
        mark = slice(_MARKS_AT + 2 * n, _MARKS_AT + 2 * n + 2)
        if own[mark].ljust(2, b"\0") != stored[mark].ljust(2, b"\0"):
            return name
    return "request"


def field_names(kind: type[Command]) -> list[str]:
    """What can differ between two commands of a class, by the names of the request message."""
    return _FORMS[kind].names


def _parts(command: Command, form: _Form) -> list[bytes]:
    """The command as it is told, cut before each field; of what is not told there is an empty part."""
    parts = [form.head]
    parts += [
        (key + tell(value)).encode() if (value := read(command)) != default else b""
        for read, default, key, tell in form.fields
    ]
    return parts


def _form_of(kind: type[Command]) -> _Form:
    hints = get_type_hints(kind)
    names: list[str] = []
    told: list[_Field] = []
    for field in fields(kind):
        if not field.compare:
            continue
        if hints[field.name] in (Ref, Ref | None):
            names += [f"{field.name}_{part}" for part in Ref._fields]
            told += [(_reader(field.name, part), None, f',"{field.name}_{part}":', quoted) for part in Ref._fields]
        else:
            default = None if field.default is MISSING else field.default
            names.append(field.name)
            told.append((attrgetter(field.name), default, f',"{field.name}":', _telling(hints[field.name])))
    return _Form(f'{{"method":"{kind.method}"'.encode(), names, told, Struct(f">{1 + len(told)}H").pack)


class _Forms(dict[type[Command], _Form]):
    """By class; each is made when its first command is told."""

    def __missing__(self, kind: type[Command]) -> _Form:
        self[kind] = form = _form_of(kind)
        return form


_FORMS = _Forms()


def _reader(name: str, part: str) -> Callable[[Command], Any]:
    """Reads a part of what may be None."""
    return lambda command: getattr(getattr(command, name), part, None)


@cache
def _telling(hint: Any) -> _Tell:
    """How values of a type are told."""
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind is UnionType:
        (some,) = (_telling(argument) for argument in arguments if argument is not NoneType)
        return lambda value: "null" if value is None else some(value)
    if issubclass(kind, str):
        return quoted
    if issubclass(kind, int):
        return int.__repr__
    if issubclass(kind, datetime):
        return lambda time: quoted(time.astimezone(UTC).isoformat())
    if issubclass(kind, Mapping):
        return lambda pairs: "{" + ",".join([quoted(key) + ":" + quoted(pairs[key]) for key in sorted(pairs)]) + "}"
    if issubclass(kind, frozenset):
        return lambda texts: "[" + ",".join([quoted(text) for text in sorted(texts)]) + "]"
    if issubclass(kind, Command):
        return lambda command: b"".join(_parts(command, _FORMS[type(command)])).decode() + "}"
    if kind is tuple:
        tell = _telling(arguments[0])
        return lambda items: "[" + ",".join([tell(item) for item in items]) + "]"
    if issubclass(kind, Ref):
        return _ref
    return _telling_fields(kind)


def _telling_fields(kind: Any) -> _Tell:
    hints = get_type_hints(kind)
    told = [
        (n, kind._field_defaults.get(name), f'"{name}":', _telling(hints[name])) for n, name in enumerate(kind._fields)
    ]

    def tell_fields(values: Any) -> str:
        named = [key + tell(value) for n, default, key, tell in told if (value := values[n]) != default]
        return "{" + ",".join(named) + "}"

    return tell_fields


def _ref(ref: Ref) -> str:
    """As any other NamedTuple, but quicker: every entry has one."""
    if ref.id is not None:
        return '{"id":' + quoted(ref.id) + "}"
    return '{"external_id":' + quoted(str(ref.external_id)) + "}"
