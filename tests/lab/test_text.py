import pytest

from assay.lab import printable

DIRECTIONS = [0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]


@pytest.mark.parametrize("character", ["\x1b", "\n", "\r", "\t", "\x9b", "\udc80", *map(chr, DIRECTIONS)], ids=ascii)
def test_what_does_not_print_is_replaced(character):
    assert printable(f"a{character}b") == "a\N{REPLACEMENT CHARACTER}b"


def test_what_prints_is_kept():
    text = "net-1.pt: “Größe” 字 שלום ☃ 🙂 <b>&amp;"
    assert printable(text) == text
