"""Page tokens: where the next page begins, bound to the query they are of.

    version (1 byte) | number (8 bytes) | id (16 bytes) | note | digest (11 bytes)        in base64url

Most have no note and 48 characters; a note is what one page hands to the next beside its key.
The digest covers the key, the note and the query, so a damaged token or one of another query is refused, never answered
with a page of the wrong list. It is no secret: who forges one gets a page of his own query.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from typing import NamedTuple
from uuid import UUID

from ledger_server.domain.errors import InvalidPageToken, Violation
from ledger_server.domain.ids import NIL_ID
from ledger_server.reading.queries import PageQuery

NUMBER_MAX = 2**63 - 1

_VERSION = b"\x02"
_KEY_BYTES = 1 + 8 + 16
_DIGEST_BYTES = 11


class Key(NamedTuple):
    """A row's place in its list's order: a position, version or time, and an id where that alone is not unique."""

    number: int
    id: str = NIL_ID

    @classmethod
    def at(cls, number: int, position: int) -> Key:
        """A key whose second part is a position instead of an id."""
        return cls(number, str(UUID(int=position)))

    @property
    def position(self) -> int:
        """The second part of such a key; or InvalidPageToken, if it came from a token that is none of ours."""
        position = UUID(self.id).int
        if position > NUMBER_MAX:
            raise invalid_page_token()
        return position


# Before the first row of an ascending list, and of a descending one.
LOWEST = Key(-NUMBER_MAX)
HIGHEST = Key(NUMBER_MAX)


def to_token(query: PageQuery, key: Key | None, note: str = "") -> str:
    """The token of the page that begins after `key`; "" for None, when there is no such page."""
    if key is None:
        return ""
    head = _VERSION + key.number.to_bytes(8, "big", signed=True) + UUID(key.id).bytes + note.encode()
    return urlsafe_b64encode(head + _digest(query, head)).decode()


def from_token(query: PageQuery, first: Key) -> Key:
    """Where the page asked for begins: after the key in its token, after `first` without one; or InvalidPageToken."""
    if not query.page_token:
        return first
    head = _head_of(query)
    return Key(int.from_bytes(head[1:9], "big", signed=True), str(UUID(bytes=head[9:_KEY_BYTES])))


def note_from_token(query: PageQuery) -> str:
    """What the page before handed on; "" on the first page. Raises InvalidPageToken."""
    return _head_of(query)[_KEY_BYTES:].decode() if query.page_token else ""


def _head_of(query: PageQuery) -> bytes:
    """All of the token but its digest, which holds."""
    try:
        raw = urlsafe_b64decode(query.page_token.encode("ascii"))
    except (UnicodeEncodeError, binascii.Error):
        raise invalid_page_token() from None
    head, digest = raw[:-_DIGEST_BYTES], raw[-_DIGEST_BYTES:]
    # Base64 has several spellings of some bytes; only ours is a token.
    is_ours = urlsafe_b64encode(raw).decode() == query.page_token and len(head) >= _KEY_BYTES
    if not is_ours or head[:1] != _VERSION or digest != _digest(query, head):
        raise invalid_page_token()
    return head


def invalid_page_token() -> InvalidPageToken:
    return InvalidPageToken(
        "the page_token is damaged or of another query; start again from the first page",
        violations=[Violation("page_token", "is damaged or of another query")],
    )


def _digest(query: PageQuery, head: bytes) -> bytes:
    return blake2b(head + query.canonical(), digest_size=_DIGEST_BYTES, person=b"ledger.page").digest()
