"""Fingerprints: how a repeated request is told from another request under the same request_id.

16 bytes of BLAKE2b over the method and all values decide; two bytes for each of them name the first field that differs
without keeping the request (in one of 65,536 cases a later one).
"""

from __future__ import annotations

from hashlib import blake2b
from struct import pack
from zlib import crc32

from ledger_server.domain.commands import Command

_DIGEST_BYTES = 16


def fingerprint(command: Command) -> bytes:
    """What is stored beside the outcome of a command."""
    parts = [command.method.encode(), *[repr(value).encode() for _, value in command.values()]]
    digest = blake2b(b"\0".join(parts), digest_size=_DIGEST_BYTES).digest()
    return digest + pack(f">{len(parts)}H", *[crc32(part) & 0xFFFF for part in parts])


def first_difference(stored: bytes, own: bytes, command: Command) -> str | None:
    """The first field in which the command, whose fingerprint is `own`, differs from the stored one; None: the same."""
    if own == stored:
        return None
    names = ["method", *(name for name, _ in command.values())]
    for n, name in enumerate(names):
        mark = slice(_DIGEST_BYTES + 2 * n, _DIGEST_BYTES + 2 * n + 2)
        if own[mark] != stored[mark]:
            return name
    return names[-1]
