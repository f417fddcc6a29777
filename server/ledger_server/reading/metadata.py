"""Conditions on metadata: a tree of terms, as a jsonpath of which every text is a variable, and as ways by an index."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, TypeAlias

from ledger_server.domain.model import Metadata
from ledger_server.storage.rows import VALUE_HEAD_CHARACTERS


class Check(Enum):
    """What must hold of a key."""

    EQUALS = "equals"
    PRESENT = "present"
    ABSENT = "absent"
    PREFIX = "prefix"
    ONE_OF = "one_of"


class Term(NamedTuple):
    """A condition on one key; `values` are one value, one prefix, or those of which it must be one."""

    key: str
    test: Check
    values: tuple[str, ...] = ()


class Terms(NamedTuple):
    """All of `all` must hold, and one of `any` unless it is empty."""

    all: tuple[Term | Terms, ...]
    any: tuple[Term | Terms, ...]


class Heads(NamedTuple):
    """A range of texts that value_heads of a key may begin in; one value's if `last` is None. It may hold too many."""

    key: str
    first: str
    # Exclusive; None: no end.
    last: str | None
    is_one: bool


# Ways to find all objects that may fulfil a condition: the union of these.
HeadsUnion: TypeAlias = tuple[Heads, ...]


def path_of(terms: Terms | None) -> tuple[str | None, dict[str, str]]:
    """The jsonpath of a condition and its variables; None if everything passes."""
    if terms is None or not (terms.all or terms.any):
        return None, {}
    variables: dict[str, str] = {}
    path = _path(terms, variables)
    return path, variables


def _path(node: Term | Terms, variables: dict[str, str]) -> str:
    if isinstance(node, Terms):
        parts = [_path(part, variables) for part in node.all]
        if node.any:
            parts.append("(" + " || ".join([_path(part, variables) for part in node.any]) + ")")
        return "(" + " && ".join(parts) + ")" if parts else "(1 == 1)"
    key = f"@.key == {_variable(variables, node.key)}"
    match node.test:
        case Check.PRESENT:
            return f"exists($.keyvalue() ? ({key}))"
        case Check.ABSENT:
            return f"!exists($.keyvalue() ? ({key}))"
        case Check.PREFIX:
            value = f"@.value starts with {_variable(variables, node.values[0])}"
        case _:
            value = " || ".join([f"@.value == {_variable(variables, one)}" for one in node.values])
    return f"exists($.keyvalue() ? ({key} && ({value})))"


def _variable(variables: dict[str, str], text: str) -> str:
    name = f"v{len(variables)}"
    variables[name] = text
    return "$" + name


def equal_pairs(metadata: Metadata) -> list[HeadsUnion]:
    """Where each of some pairs may be, all of which must hold."""
    return [_heads(Term(key, Check.EQUALS, (value,))) for key, value in metadata.items()]


def ways_of(terms: Terms | None) -> list[HeadsUnion]:
    """What each term that must hold says about where to look; nothing for terms that say nothing."""
    if terms is None:
        return []
    ways = []
    for part in terms.all:
        if isinstance(part, Terms):
            ways += ways_of(part)
        elif part.test != Check.ABSENT:
            ways.append(_heads(part))
    if terms.any and (union := _union(terms.any)) is not None:
        ways.append(union)
    return ways


def _union(parts: tuple[Term | Terms, ...]) -> HeadsUnion | None:
    """Where one of several parts may hold; None if that is anywhere."""
    found: list[Heads] = []
    for part in parts:
        if isinstance(part, Terms):
            within = ways_of(part)
            if not within:
                return None
            found += within[0]
        elif part.test == Check.ABSENT:
            return None
        else:
            found += _heads(part)
    return tuple(found)


def _heads(term: Term) -> HeadsUnion:
    if term.test == Check.PRESENT:
        return (Heads(term.key, "", None, is_one=False),)
    if term.test == Check.PREFIX and len(term.values[0]) < VALUE_HEAD_CHARACTERS:
        return (Heads(term.key, term.values[0], text_after(term.values[0]), is_one=False),)
    return tuple(Heads(term.key, value[:VALUE_HEAD_CHARACTERS], None, is_one=True) for value in term.values)


def text_after(prefix: str) -> str | None:
    """The first text, by code points, after all that begin with the prefix; None if there is none."""
    for n in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[n]) + 1
        # Surrogates are no characters.
        code = 0xE000 if 0xD800 <= code <= 0xDFFF else code
        if code <= 0x10FFFF:
            return prefix[:n] + chr(code)
    return None


def pattern_of(text: str) -> str:
    """The pattern of LIKE for what contains a text, and nothing else."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
