"""Rows as columns, each column one array literal: `{1,2,NULL}`, `{"a \\"quoted\\" text"}`.

asyncpg encodes a list element by element, with two abstract-class checks for each: 24 us a transaction. A text costs
it nothing, and PostgreSQL reads it straight into the column's type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from json.encoder import encode_basestring_ascii as json_text
from typing import Any

NULL = "NULL"
NUMBERS = [str(number) for number in range(10)]


def quoted(text: str) -> str:
    """Any text as an element of an array literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def quoted_or_null(text: str | None) -> str:
    return NULL if text is None else quoted(text)


def quoted_map(texts: Mapping[str, str]) -> str:
    """Metadata as an element, in JSON. json.dumps makes an encoder first, each time."""
    return quoted("{" + ",".join([json_text(key) + ":" + json_text(text) for key, text in texts.items()]) + "}")


def or_null(text: str | None) -> str:
    """An element that needs no quotes: a number, an id or a time."""
    return NULL if text is None else text


def time_or_now(time: datetime | None, now: datetime) -> str:
    """A time; null for now, or where there is none."""
    return NULL if time is None or time is now else time.isoformat()


def quoted_literal(texts: Sequence[str]) -> str:
    """Any texts as one array literal."""
    return "{" + ",".join([quoted(text) for text in texts]) + "}"


def literals(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """The first columns of rows of elements, so many; empty ones if there are no rows."""
    if not rows:
        return ["{}"] * width
    return ["{" + ",".join(column) + "}" for column in islice(zip(*rows, strict=True), width)]


def columns(rows: Sequence[Sequence[Any]], width: int) -> Sequence[Sequence[Any]]:
    """The columns of rows as lists for the driver, where rows are few; so many empty ones if there are no rows."""
    return list(zip(*rows, strict=True)) if rows else [()] * width
