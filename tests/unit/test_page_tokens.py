"""Page tokens hold their key, and are good for the query they are of and for no other."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_server.domain.errors import InvalidPageToken
from ledger_server.domain.ids import new_id
from ledger_server.domain.inputs import Ref
from ledger_server.domain.model import TransactionStatus
from ledger_server.domain.money import Direction, NormalBalance
from ledger_server.reading import AccountQuery, EntryQuery, LedgerQuery, TransactionQuery, VersionQuery
from ledger_server.reading.entry_sets import Place
from ledger_server.reading.page_tokens import LOWEST, NUMBER_MAX, Key, from_token, to_token
from ledger_server.reading.queries import Between, PageQuery

LEDGER, OTHER_LEDGER = 1, 2
ACCOUNT, OTHER = new_id(), new_id()
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PENDING, POSTED = TransactionStatus.PENDING, TransactionStatus.POSTED

ACCOUNTS = AccountQuery(ledger_id=LEDGER, page_size=10)
TRANSACTIONS = TransactionQuery(ledger_id=LEDGER, page_size=10)
ENTRIES = EntryQuery(ledger_id=LEDGER, page_size=10, account=Ref(ACCOUNT, None))

OTHER_QUERIES: list[tuple[str, PageQuery, PageQuery]] = [
    ("another ledger", ACCOUNTS, replace(ACCOUNTS, ledger_id=OTHER_LEDGER)),
    ("another noun", ACCOUNTS, TRANSACTIONS),
    ("another currency", ACCOUNTS, replace(ACCOUNTS, currency="USD")),
    ("another normality", ACCOUNTS, replace(ACCOUNTS, normal_balance=NormalBalance.DEBIT)),
    ("other metadata", ACCOUNTS, replace(ACCOUNTS, metadata={"a": "b"})),
    ("metadata cut elsewhere", replace(ACCOUNTS, metadata={"a": "bc"}), replace(ACCOUNTS, metadata={"ab": "c"})),
    ("an empty external id", ACCOUNTS, replace(ACCOUNTS, external_id="")),
    ("another account", TRANSACTIONS, replace(TRANSACTIONS, account=Ref(ACCOUNT, None))),
    (
        "an external id like an id",
        replace(TRANSACTIONS, account=Ref(ACCOUNT, None)),
        replace(TRANSACTIONS, account=Ref(None, ACCOUNT)),
    ),
    ("other statuses", TRANSACTIONS, replace(TRANSACTIONS, statuses=frozenset({POSTED}))),
    ("another direction", ENTRIES, replace(ENTRIES, direction=Direction.DEBIT)),
    ("discarded ones too", ENTRIES, replace(ENTRIES, include_discarded=True)),
    ("another bound", ENTRIES, replace(ENTRIES, effective_at=Between(NOON, None))),
    (
        "the other bound",
        replace(ENTRIES, effective_at=Between(NOON, None)),
        replace(ENTRIES, effective_at=Between(None, NOON)),
    ),
    (
        "versions of another transaction",
        VersionQuery(ledger_id=LEDGER, page_size=10, transaction=Ref(ACCOUNT, None)),
        VersionQuery(ledger_id=LEDGER, page_size=10, transaction=Ref(OTHER, None)),
    ),
    ("ledgers", ACCOUNTS, LedgerQuery(page_size=10)),
]


@given(st.integers(-1, NUMBER_MAX), st.uuids(allow_nil=True).map(str))
def test_a_token_holds_its_key(number: int, object_id: str) -> None:
    token = to_token(ENTRIES, Key(number, object_id))
    assert from_token(replace(ENTRIES, page_token=token), LOWEST) == Key(number, object_id)


def test_a_forged_position_is_no_position() -> None:
    """Whoever makes a token himself, as its digest is no secret, is not told of a bug."""
    assert Key.at(3, NUMBER_MAX).position == NUMBER_MAX
    with pytest.raises(InvalidPageToken):
        _ = Key.at(3, NUMBER_MAX + 1).position
    with pytest.raises(InvalidPageToken):
        Place.noted(Key(3), f"0 {NUMBER_MAX + 1}")


def test_the_first_page_has_no_token_and_after_the_last_there_is_none() -> None:
    assert from_token(ACCOUNTS, Key(17)) == Key(17)
    assert to_token(ACCOUNTS, None) == ""


@pytest.mark.parametrize(
    ("first", "second"), [case[1:] for case in OTHER_QUERIES], ids=[case[0] for case in OTHER_QUERIES]
)
def test_a_token_of_another_query_is_refused(first: PageQuery, second: PageQuery) -> None:
    for one, other in ((first, second), (second, first)):
        with pytest.raises(InvalidPageToken):
            from_token(replace(other, page_token=to_token(one, Key(3))), LOWEST)


def test_page_size_and_min_position_may_change_from_page_to_page() -> None:
    token = to_token(ACCOUNTS, Key(3))
    assert from_token(replace(ACCOUNTS, page_size=99, min_position=4, page_token=token), LOWEST) == Key(3)


def test_equal_filters_are_one_query_however_they_are_written() -> None:
    berlin = timezone(timedelta(hours=1))
    one = replace(ENTRIES, statuses=frozenset([PENDING, POSTED]), effective_at=Between(NOON, None))
    other = replace(ENTRIES, statuses=frozenset([POSTED, PENDING]), effective_at=Between(NOON.astimezone(berlin), None))
    assert one.canonical() == other.canonical()
    assert (
        replace(ACCOUNTS, metadata={"a": "1", "b": "2"}).canonical()
        == replace(ACCOUNTS, metadata={"b": "2", "a": "1"}).canonical()
    )


def test_every_damaged_character_is_noticed() -> None:
    token = to_token(TRANSACTIONS, Key(3, str(UUID(int=5))))
    for n, character in enumerate(token):
        damaged = token[:n] + ("A" if character != "A" else "B") + token[n + 1 :]
        with pytest.raises(InvalidPageToken):
            from_token(replace(TRANSACTIONS, page_token=damaged), LOWEST)


@pytest.mark.parametrize(
    "text",
    [
        " ",
        "x",
        "é",
        "\0",
        "AAAA",
        "=" * 48,
        "A" * 48,
        "A" * 100_000,
        "!" + to_token(TRANSACTIONS, Key(3)),
        to_token(TRANSACTIONS, Key(3)) + "\n",
        to_token(TRANSACTIONS, Key(3))[:-4],
        to_token(TRANSACTIONS, Key(3)) * 2,
        base64.b64encode(b"\x01" + base64.urlsafe_b64decode(to_token(TRANSACTIONS, Key(3)))[1:]).decode(),
    ],
)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(InvalidPageToken):
        from_token(replace(TRANSACTIONS, page_token=text), LOWEST)
