"""Ways to break a file: blind ones on its bytes, and ones that know FITS cards, text and gzip."""

import re
import zlib
from collections.abc import Callable
from gzip import compress
from random import Random
from typing import TypeAlias

Mutation: TypeAlias = Callable[[bytearray, Random], None]
"""Changes the bytes of a file where they are."""

BLOCK, CARD = 2880, 80
GZIP = b"\x1f\x8b"
LONGEST = 4096
MANY = (1, 1, 1, 2, 4)
NUMBER = re.compile(rb"[-+]?\d[\d.]*(?:[eE][-+]?\d+)?")
# What stands where a number, a word or a whole card is expected.
WORDS = (
    *(b"0", b"-1", b"1", b"2", b"3", b"7", b"999", b"65536", b"2147483648", b"-2147483649"),
    *(b"9223372036854775807", b"9223372036854775808", b"99999999999999999999999"),
    *(b"1e400", b"1e-400", b"0.5", b"1e19", b"nan", b"-inf", b"inf", b"-0.0", b"1_000", b"0x1F", b"1d5"),
    *(b"", b" ", b"T", b"F", b"abc", b"null", b"1+2j", b"'", b'"', b"''", b"[", b"]", b"[[1]]", b"()"),
    *(b",", b",,,", b"\n", b"\r\n\r\n", b"\x00", b"\xff\xfe", b"\xc3\xa9", b"#", b"<", b"&lt;", b"]]>"),
    *(b"'text'", b"'PD(9)'", b"'99999999E'", b"'1PE(2)'", b"'1PB(-1)'", b"'GZIP_2'", b"'RICE_1'"),
)
# Cards that say how large things are.
SIZES = (b"NAXIS", b"BITPI", b"TFORM", b"PCOUN", b"GCOUN", b"TFIEL", b"BZERO", b"ZNAXI", b"ZTILE", b"ZVAL1")


def mutate(content: bytes, random: Random) -> bytes:
    """The content with one to four things broken; of most gzipped files what was packed."""
    if content.startswith(GZIP) and random.random() < 0.7:
        return compress(_broken(zlib.decompress(content, zlib.MAX_WBITS | 16), random), 1)
    return _broken(content, random)


def _broken(content: bytes, random: Random) -> bytes:
    found = bytearray(content)
    for _ in range(random.choice(MANY)):
        random.choice(_ways(found))(found, random)
    return bytes(found)


def _ways(content: bytearray) -> tuple[Mutation, ...]:
    if content.startswith(b"SIMPLE"):
        return BLIND + 3 * CARDS
    # FITS, Parquet and Arrow have zeros early on, text has none.
    return BLIND if b"\0" in content[:LONGEST] else BLIND + 2 * TEXT


def _place(content: bytearray, random: Random) -> int:
    """A place anywhere, but as often near the beginning or the end, where a file says what it is."""
    size = max(1, len(content))
    near = random.randrange(min(size, LONGEST))
    return random.choice((random.randrange(size), random.randrange(size), near, size - 1 - near))


def _part(content: bytearray, random: Random) -> slice:
    start = _place(content, random)
    return slice(start, start + int(2 ** random.uniform(0, 12)))


def flip_bits(content: bytearray, random: Random) -> None:
    """Up to eight bits anywhere."""
    for _ in range(random.randint(1, 8) if content else 0):
        content[_place(content, random)] ^= 1 << random.randrange(8)


def truncate(content: bytearray, random: Random) -> None:
    """The file ends early, somewhere or by a few bytes."""
    del content[random.choice((_place(content, random), max(0, len(content) - random.randint(1, BLOCK)))) :]


def cut_out(content: bytearray, random: Random) -> None:
    """A part is missing."""
    del content[_part(content, random)]


def double(content: bytearray, random: Random) -> None:
    """A part comes twice."""
    part = _part(content, random)
    content[part.start : part.start] = content[part]


def splice(content: bytearray, random: Random) -> None:
    """A part stands where another one was."""
    source, target = _part(content, random), _part(content, random)
    content[target] = content[source]


def zero(content: bytearray, random: Random) -> None:
    """A part is zeros, or ones."""
    part = _part(content, random)
    content[part] = random.choice((b"\x00", b"\xff")) * len(content[part])


def noise(content: bytearray, random: Random) -> None:
    """A part is random."""
    part = _part(content, random)
    content[part] = random.randbytes(len(content[part]))


def lengthen(content: bytearray, random: Random) -> None:
    """Something stands behind the end."""
    content += random.randbytes(random.randint(1, LONGEST))


def _cards(content: bytearray) -> list[int]:
    """Where the header cards of a FITS file begin."""
    found: list[int] = []
    inside = False
    for block in range(0, len(content), BLOCK):
        inside = inside or content[block : block + 8] in (b"SIMPLE  ", b"XTENSION")
        for place in range(block, min(block + BLOCK, len(content)), CARD) if inside else ():
            found.append(place)
            if content[place : place + 8] == b"END     ":
                inside = False
                break
    return found


def card_value(content: bytearray, random: Random) -> None:
    """A card has another value."""
    if cards := _cards(content):
        place, word = random.choice(cards), random.choice(WORDS)
        content[place + 10 : place + CARD] = word.rjust(20).ljust(CARD - 10)[: CARD - 10]


def axis_value(content: bytearray, random: Random) -> None:
    """A card that sizes follow from has another value."""
    sizes = [place for place in _cards(content) if content[place : place + 5] in SIZES]
    if sizes:
        place, word = random.choice(sizes), random.choice(WORDS)
        content[place + 10 : place + CARD] = word.rjust(20).ljust(CARD - 10)[: CARD - 10]


def swap_cards(content: bytearray, random: Random) -> None:
    """Two cards change places, or one stands where another was."""
    if cards := _cards(content):
        one, other = random.choice(cards), random.choice(cards)
        first, second = content[one : one + CARD], content[other : other + CARD]
        content[one : one + CARD] = second
        if random.random() < 0.7:
            content[other : other + CARD] = first


def card_keyword(content: bytearray, random: Random) -> None:
    """A card has another keyword: that of another card, or none that anybody knows."""
    if cards := _cards(content):
        place, other = random.choice(cards), random.choice(cards)
        names = (bytes(content[other : other + 8]), b"        ", b"END     ", b"X\xff\x00Y    ", b"CONTINUE")
        content[place : place + 8] = random.choice(names)


def card_bytes(content: bytearray, random: Random) -> None:
    """One byte of a header is another."""
    if cards := _cards(content):
        place = min(random.choice(cards) + random.randrange(CARD), len(content) - 1)
        content[place] = random.choice((random.randrange(256), ord("'"), ord(" "), ord("=")))


def number_text(content: bytearray, random: Random) -> None:
    """Something else stands where a number was."""
    if found := NUMBER.search(content, _place(content, random)):
        content[found.start() : found.end()] = random.choice(WORDS)


def put_text(content: bytearray, random: Random) -> None:
    """A word in the middle of the text."""
    place = _place(content, random)
    content[place:place] = random.choice(WORDS) * random.choice((1, 1, 1, 100))


def swap_lines(content: bytearray, random: Random) -> None:
    """A line goes, or stands once more somewhere else."""
    lines = content.split(b"\n")
    line = lines.pop(random.randrange(len(lines)))
    if random.random() < 0.7:
        lines.insert(random.randrange(len(lines) + 1), line)
    content[:] = b"\n".join(lines)


BLIND: tuple[Mutation, ...] = (flip_bits, truncate, cut_out, double, splice, zero, noise, lengthen)
CARDS: tuple[Mutation, ...] = (card_value, axis_value, swap_cards, card_keyword, card_bytes)
TEXT: tuple[Mutation, ...] = (number_text, number_text, put_text, swap_lines)
