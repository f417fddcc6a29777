"""Pieces of names: whatever contains a text, letter case ignored, has all pieces of the text."""

import random
import sys

from ledger_server.storage.name_grams import PIECES_MAX, grams_of, grams_within

LEDGER = 1
ALPHABET = "aAbBcC1 -_%éÉßẞİıΣσς北京\u0307\x00\x01"


def test_a_part_of_a_name_has_no_piece_that_the_name_has_not() -> None:
    chance = random.Random(5)
    for _ in range(2_000):
        name = "".join(chance.choices(ALPHABET, k=chance.randint(1, 40)))
        start = chance.randrange(len(name))
        part = name[start : start + chance.randint(1, 40)]
        for variant in (part, part.upper(), part.lower()):
            # A dotless i in upper case is taken for another letter, and so are some that become two.
            if len(variant) == len(part) and variant.lower() == part.lower():
                assert set(grams_within(LEDGER, variant)) <= set(grams_of(LEDGER, name)), (name, variant)


def test_every_letter_is_found_in_its_other_cases() -> None:
    for code in range(sys.maxunicode + 1):
        letter = chr(code)
        if 0xD800 <= code < 0xE000:
            continue
        for variant in {letter.lower(), letter.upper(), letter.lower().upper()}:
            if len(variant) == 1 and variant.lower() == letter.lower():
                assert grams_within(LEDGER, variant) == grams_within(LEDGER, letter), (letter, variant)


def test_one_and_two_characters_are_pieces_of_their_own() -> None:
    for part in ("n", "nn", "Ann", " w"):
        assert set(grams_within(LEDGER, part)) <= set(grams_of(LEDGER, "Ann's wallet"))
    assert not set(grams_within(LEDGER, "z")) <= set(grams_of(LEDGER, "Ann's wallet"))


def test_the_same_name_has_other_pieces_in_another_ledger() -> None:
    assert not set(grams_of(LEDGER, "Cash")) & set(grams_of(LEDGER + 1, "Cash"))


def test_a_long_text_is_looked_for_by_a_bounded_number_of_pieces() -> None:
    assert len(grams_within(LEDGER, "".join(chr(0x4E00 + n) for n in range(1_000)))) == PIECES_MAX
