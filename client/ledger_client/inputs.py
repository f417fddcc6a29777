"""What callers hand in: lines to write, conditions, Python's times and words for enums."""

import datetime as dt
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final, Literal, TypedDict, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from ledger_client.messages import demand, enum_value, message
from ledger_client.names import AccountRef, CategoryRef, id_of, name_account, name_category
from ledger_client.v1.accounts_pb2 import AccountStatus, BalanceLimit, BalanceLimits, VersionInterval
from ledger_client.v1.balances_pb2 import BalanceCondition, BalanceKind, Direction, NormalBalance, Operator
from ledger_client.v1.categories_pb2 import CategoryCondition
from ledger_client.v1.transactions_pb2 import (
    AccountCondition,
    Entry,
    EntryInput,
    PartialEntryInput,
    TransactionStatus,
)


class Unchanged(Enum):
    """The default of a field whose None removes what it holds."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED

EntryPart = EntryInput | PartialEntryInput
"""What is posted or reversed of an entry: ``debit`` and ``credit`` name it by its account, ``part_of`` by its id."""

_Line = TypeVar("_Line", bound=EntryPart)

NormalBalanceWord = Literal["debit", "credit"]
DirectionWord = Literal["debit", "credit"]
StatusWord = Literal["pending", "posted", "archived"]
AccountStatusWord = Literal["open", "debits_frozen", "credits_frozen", "frozen", "closed"]
VersionIntervalWord = Literal["hour", "day", "month"]
BalanceWord = Literal["pending", "posted", "available"]
OperatorSign = Literal["<", "<=", "==", "!=", ">=", ">"]


class BalanceTime(TypedDict, total=False):
    """Which entries balances count: by their effective time, and by what was known. Without any, every standing one."""

    effective_at_lower_bound: dt.datetime | None
    """Only entries effective at this time or later."""
    effective_at_upper_bound: dt.datetime | None
    """Only entries effective before this time."""
    as_of: dt.datetime | None
    """Only entries effective at this time or before; not together with a bound."""
    as_of_position: int | None
    """Only what was known at this position; above the ledger's: PositionInFuture."""
    known_at: dt.datetime | None
    """Only what was known at this time; not together with as_of_position."""


_VERSION_INTERVALS: dict[str, VersionInterval.ValueType] = {
    "hour": VersionInterval.VERSION_INTERVAL_HOUR,
    "day": VersionInterval.VERSION_INTERVAL_DAY,
    "month": VersionInterval.VERSION_INTERVAL_MONTH,
}
_NORMAL_BALANCES: dict[str, NormalBalance.ValueType] = {
    "debit": NormalBalance.NORMAL_BALANCE_DEBIT,
    "credit": NormalBalance.NORMAL_BALANCE_CREDIT,
}
_DIRECTIONS: dict[str, Direction.ValueType] = {
    "debit": Direction.DIRECTION_DEBIT,
    "credit": Direction.DIRECTION_CREDIT,
}
_STATUSES: dict[str, TransactionStatus.ValueType] = {
    "pending": TransactionStatus.TRANSACTION_STATUS_PENDING,
    "posted": TransactionStatus.TRANSACTION_STATUS_POSTED,
    "archived": TransactionStatus.TRANSACTION_STATUS_ARCHIVED,
}
_ACCOUNT_STATUSES: dict[str, AccountStatus.ValueType] = {
    "open": AccountStatus.ACCOUNT_STATUS_OPEN,
    "debits_frozen": AccountStatus.ACCOUNT_STATUS_DEBITS_FROZEN,
    "credits_frozen": AccountStatus.ACCOUNT_STATUS_CREDITS_FROZEN,
    "frozen": AccountStatus.ACCOUNT_STATUS_FROZEN,
    "closed": AccountStatus.ACCOUNT_STATUS_CLOSED,
}
_BALANCE_KINDS: dict[BalanceWord, BalanceKind.ValueType] = {
    "pending": BalanceKind.BALANCE_KIND_PENDING,
    "posted": BalanceKind.BALANCE_KIND_POSTED,
    "available": BalanceKind.BALANCE_KIND_AVAILABLE,
}
_OPERATORS: dict[OperatorSign, Operator.ValueType] = {
    "<": Operator.OPERATOR_LT,
    "<=": Operator.OPERATOR_LTE,
    "==": Operator.OPERATOR_EQ,
    "!=": Operator.OPERATOR_NE,
    ">=": Operator.OPERATOR_GTE,
    ">": Operator.OPERATOR_GT,
}
_BALANCE_WORDS = {kind: word for word, kind in _BALANCE_KINDS.items()}
_OPERATOR_SIGNS = {operator: sign for sign, operator in _OPERATORS.items()}
_NO_CONDITIONS: Iterable[BalanceCondition] = ()


def debit(
    account: AccountRef,
    amount: int | str,
    *,
    metadata: Mapping[str, str] | None = None,
    lock_version: int | None = None,
    conditions: Iterable[BalanceCondition] = _NO_CONDITIONS,
) -> EntryInput:
    """A line on the left side of an account.

    Args:
        account: on which account.
        amount: 0 … 10^36 - 1 minor units; ``to_minor_units`` makes them of a Decimal.
        metadata: the entry's own.
        lock_version: write only if the account is at it before the command, else LockVersionMismatch.
        conditions: must all hold on the account right after the command, else ConditionFailed.
    """
    return _entry(account, Direction.DIRECTION_DEBIT, amount, metadata, lock_version, conditions)


def credit(
    account: AccountRef,
    amount: int | str,
    *,
    metadata: Mapping[str, str] | None = None,
    lock_version: int | None = None,
    conditions: Iterable[BalanceCondition] = _NO_CONDITIONS,
) -> EntryInput:
    """A line on the right side of an account; the arguments are those of ``debit``."""
    return _entry(account, Direction.DIRECTION_CREDIT, amount, metadata, lock_version, conditions)


def _entry(
    account: AccountRef,
    direction: Direction.ValueType,
    amount: int | str,
    metadata: Mapping[str, str] | None,
    lock_version: int | None,
    conditions: Iterable[BalanceCondition],
) -> EntryInput:
    # Only what is given: a field that is named costs as much as one that has a value.
    given: dict[str, Any] = {"direction": direction, "amount": units(amount)}
    if metadata is not None:
        given["metadata"] = metadata
    if lock_version is not None:
        given["lock_version"] = lock_version
    if conditions is not _NO_CONDITIONS:
        given["conditions"] = conditions
    entry = message(EntryInput, **given)
    name_account(entry, account)
    return entry


def part_of(
    entry: Entry | str,
    amount: int | str,
    *,
    metadata: Mapping[str, str] | None = None,
    lock_version: int | None = None,
    conditions: Iterable[BalanceCondition] = (),
) -> PartialEntryInput:
    """What is posted or reversed of an entry that is named by its id, as it must be if the account has several.

    Args:
        entry: which entry, as it was read, or its id.
        amount: at most what is left of it; and so for the rest as for ``debit``.
        metadata: the new entry's own.
        lock_version: of the account before the command.
        conditions: on the account right after the command.
    """
    return message(
        PartialEntryInput,
        entry_id=id_of("entry", entry, Entry),
        amount=units(amount),
        metadata=metadata,
        lock_version=lock_version,
        conditions=conditions,
    )


def some_or_all(lines: Iterable[_Line] | None) -> list[_Line]:
    """The entries of a write that takes all where the wire names none, which None asks for.

    Raises:
        ValueError: they are given and empty, as when none was computed: nobody means all by that.
    """
    if lines is None:
        return []
    some = list(lines)
    if not some:
        raise ValueError("entries are empty, which would mean all of them; give None if that is meant")
    return some


def entry_lines(lines: Iterable[EntryInput] | None) -> list[EntryInput]:
    """Entries as the wire carries them; None is none.

    Raises:
        TypeError: one of them was not made by ``debit`` or ``credit``.
    """
    return _each_made("debit() and credit()", lines or (), EntryInput)


def _each_made(makers: str, entries: Iterable[_Line], *kinds: type) -> list[_Line]:
    made = list(entries)
    for n, entry in enumerate(made):
        if not isinstance(entry, kinds):
            raise TypeError(f"entries[{n}] must be what {makers} make, not {type(entry).__name__}")
    return made


def entry_parts(parts: Iterable[EntryPart]) -> list[PartialEntryInput]:
    """Parts as the wire carries them: a line that ``debit`` or ``credit`` made names an entry by account and side."""
    made = _each_made("part_of(), debit() and credit()", parts, EntryInput, PartialEntryInput)
    return [part if isinstance(part, PartialEntryInput) else _part_by_account(part) for part in made]


def _part_by_account(line: EntryInput) -> PartialEntryInput:
    part = PartialEntryInput(
        direction=line.direction,
        amount=line.amount,
        metadata=line.metadata,
        lock_version=line.lock_version if line.HasField("lock_version") else None,
        conditions=line.conditions,
    )
    if line.account_external_id:
        part.account_external_id = line.account_external_id
    else:
        part.account_id = line.account_id
    return part


def limits(
    *,
    posted_min: int | str | None = None,
    posted_max: int | str | None = None,
    pending_min: int | str | None = None,
    pending_max: int | str | None = None,
    available_min: int | str | None = None,
    available_max: int | str | None = None,
) -> BalanceLimits:
    """``limits(available_min=0)``: bounds of an account's balances in minor units; ``limits()`` has none."""
    return BalanceLimits(
        posted=_limit(posted_min, posted_max),
        pending=_limit(pending_min, pending_max),
        available=_limit(available_min, available_max),
    )


def _limit(least: int | str | None, most: int | str | None) -> BalanceLimit | None:
    if least is None and most is None:
        return None
    return BalanceLimit(min=None if least is None else units(least), max=None if most is None else units(most))


def condition(balance: BalanceWord, operator: OperatorSign, amount: int | str) -> BalanceCondition:
    """``condition("available", ">=", 0)``: what must hold on the account right after the command."""
    return BalanceCondition(
        balance=balance_kind_value(balance), operator=operator_value(operator), amount=units(amount)
    )


def account_condition(
    account: AccountRef, *conditions: BalanceCondition, lock_version: int | None = None
) -> AccountCondition:
    """Conditions on an account that the command need not touch; see ``post_transaction``."""
    demanded = message(AccountCondition, lock_version=lock_version, conditions=conditions)
    name_account(demanded, account)
    return demanded


def category_condition(category: CategoryRef, *conditions: BalanceCondition) -> CategoryCondition:
    """Conditions on any category of the ledger; see ``create_transaction``'s category_conditions."""
    demanded = message(CategoryCondition, conditions=conditions)
    name_category(demanded, category)
    return demanded


def units(amount: int | str) -> str:
    """An amount in minor units as the wire carries it; what a string holds is the server's to judge.

    Raises:
        TypeError: the amount is a float, a Decimal or a bool.
    """
    if type(amount) is int:
        return str(amount)
    if type(amount) is str:
        return amount
    raise TypeError(f"an amount is an int of minor units, not {type(amount).__name__}; see to_minor_units")


def timestamp(time: dt.datetime | None) -> Timestamp | None:
    """A time as the wire carries it.

    Raises:
        ValueError: the time has no time zone, so it names no instant.
        TypeError: it is no datetime.
    """
    if time is None:
        return None
    demand("a time", time, dt.datetime)
    if time.tzinfo is None:
        raise ValueError(f"a time needs a time zone, such as datetime.UTC: {time!r}")
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def refuse_unknown(given: Mapping[str, Any], known: type) -> None:
    """Raises the TypeError of a misspelt keyword: at run time nothing else holds ``**fields`` against its TypedDict."""
    for name in given:
        if name not in known.__annotations__:
            raise TypeError(f"unexpected keyword argument {name!r}; there are {', '.join(known.__annotations__)}")


def time_fields(time: BalanceTime, known: type = BalanceTime) -> dict[str, Any]:
    """The fields of a request that say which entries balances count, among the keywords that are known."""
    refuse_unknown(time, known)
    return {
        "effective_at_lower_bound": timestamp(time.get("effective_at_lower_bound")),
        "effective_at_upper_bound": timestamp(time.get("effective_at_upper_bound")),
        "as_of": timestamp(time.get("as_of")),
        "as_of_position": time.get("as_of_position"),
        "known_at": timestamp(time.get("known_at")),
    }


def normal_balance_value(word: NormalBalanceWord | NormalBalance.ValueType | None) -> NormalBalance.ValueType:
    """The enum's value for a word; a value passes through, None is unspecified; and so below."""
    if word is None:
        return NormalBalance.NORMAL_BALANCE_UNSPECIFIED
    return enum_value("normal_balance", word, _NORMAL_BALANCES)


def direction_value(word: DirectionWord | Direction.ValueType | None) -> Direction.ValueType:
    """See normal_balance_value."""
    if word is None:
        return Direction.DIRECTION_UNSPECIFIED
    return enum_value("direction", word, _DIRECTIONS)


def status_value(word: StatusWord | TransactionStatus.ValueType | None) -> TransactionStatus.ValueType:
    """See normal_balance_value."""
    if word is None:
        return TransactionStatus.TRANSACTION_STATUS_UNSPECIFIED
    return enum_value("status", word, _STATUSES)


def version_interval_value(word: VersionIntervalWord | VersionInterval.ValueType | None) -> VersionInterval.ValueType:
    """See normal_balance_value."""
    if word is None:
        return VersionInterval.VERSION_INTERVAL_UNSPECIFIED
    return enum_value("interval", word, _VERSION_INTERVALS)


def account_status_value(word: AccountStatusWord | AccountStatus.ValueType | None) -> AccountStatus.ValueType:
    """See normal_balance_value."""
    if word is None:
        return AccountStatus.ACCOUNT_STATUS_UNSPECIFIED
    return enum_value("status", word, _ACCOUNT_STATUSES)


def balance_kind_value(word: BalanceWord | BalanceKind.ValueType) -> BalanceKind.ValueType:
    """A balance by its word, or as the enum has it."""
    return enum_value("balance", word, _BALANCE_KINDS)


def balance_word(kind: BalanceKind.ValueType) -> BalanceWord | None:
    """The word for a value of the enum; None if it is unspecified, or newer than this client."""
    return _BALANCE_WORDS.get(kind)


def operator_sign(operator: Operator.ValueType) -> OperatorSign | None:
    """See balance_word."""
    return _OPERATOR_SIGNS.get(operator)


def operator_value(sign: OperatorSign) -> Operator.ValueType:
    """See normal_balance_value."""
    return enum_value("operator", sign, _OPERATORS)


def metadata_changes(
    metadata: Mapping[str, str] | None, patch: Mapping[str, str | None] | None
) -> tuple[Mapping[str, str], list[str]]:
    """The metadata field of an update and the paths of its mask.

    Raises:
        ValueError: both are given, so it is not clear what the old keys are to become.
    """
    if metadata is not None and patch is not None:
        raise ValueError("give metadata (replaces all) or metadata_patch (changes keys), not both")
    if metadata is not None:
        return metadata, ["metadata"]
    patch = patch or {}
    values = {key: value for key, value in patch.items() if value is not None}
    return values, [f"metadata.{key}" for key in patch]
