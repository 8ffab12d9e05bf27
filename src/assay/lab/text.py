"""Text from outside, such as names of files and classes, made safe to show."""


def printable(text: str, *, keep: str = "") -> str:
    r"""Return one line in which every character that does not print is replaced by U+FFFD, but for those to keep.

    Such are control characters, which colour a terminal, end a line or forge one; controls of the direction of writing,
    which turn what stands around them (U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069); and bytes of a file's name
    that are no text.

    >>> printable("red\x1b[31m, two\nlines")
    'red�[31m, two�lines'
    """
    shown = (
        character if character.isprintable() or character in keep else "\N{REPLACEMENT CHARACTER}" for character in text
    )
    return "".join(shown)
