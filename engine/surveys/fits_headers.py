"""FITS headers: which HDUs a file has, and where their data lie, without reading any data."""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from engine.errors import ShardCorrupt
from engine.types import Extent

BLOCK, CARD = 2880, 80
END = b"END" + b" " * 77
# A card's keyword and the text after "KEYWORD = ". Half of the time to list a file goes here.
CARDS = re.compile(r"(?=([^ ]{0,8})).{10}(.{70})", re.DOTALL)
HEADER_READ = 4 * BLOCK
# The cards that say how the data of an image or of a table are stored, compressed ones included.
DECODING = re.compile(
    r"XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|B(ZERO|SCALE)|TFIELDS|T(TYPE|FORM|ZERO|SCAL|NULL|DIM)\d+|THEAP"
    r"|Z(IMAGE|BITPIX|CMPTYPE|MASKCMP|QUANTIZ|DITHER0|SCALE|ZERO|BLANK|EXTEND)|Z(NAXIS|TILE|NAME|VAL)\d*"
)
PRIMARY = b"".join(
    card.ljust(CARD)
    for card in (b"SIMPLE  =                    T", b"BITPIX  = 8", b"NAXIS   = 0", b"EXTEND  = T")
)
# A header without END must not make us read a file of any size: no survey's comes near.
LONGEST_HEADER = 4 * 2**20

# FITS has no unsigned integers: it shifts signed ones by BZERO. ">u4" stands for exactly that encoding.
IMAGE_TYPES = {
    (8, 0): "|u1",
    (16, 0): ">i2",
    (32, 0): ">i4",
    (64, 0): ">i8",
    (-32, 0): ">f4",
    (-64, 0): ">f8",
    (32, 2**31): ">u4",
}

Fetch: TypeAlias = Callable[[int, int], bytes]
"""(first byte, count) -> the bytes, fewer at the end of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hdu:
    """One header, up to END, and where its data lie. A table's extent has dtype "" and shape (rows,)."""

    name: str
    text: str
    cards: Mapping[str, str]
    extent: Extent

    @property
    def rows(self) -> int:
        """Rows of a table; ShardCorrupt when it is none."""
        if "TFIELDS" not in self.cards or len(self.extent.shape) != 1:
            raise ShardCorrupt(f"HDU {self.name}: not a table, expected a binary table")
        return self.extent.shape[0]

    def value(self, keyword: str, default: Any = None) -> Any:
        """A header value as str, int, float or bool; `default` when it is absent or undefined."""
        found = _parse(self.cards[keyword]) if keyword in self.cards else None
        return default if found is None else found


def walk(fetch: Fetch, size: int | None) -> Iterator[Hdu]:
    """The HDUs of a file of `size` bytes (None: unknown), in order.

    ShardCorrupt, when reached: not FITS, a header that is not whole, data that end beyond the file.
    """
    text = fetch(0, HEADER_READ)
    if not text.startswith(b"SIMPLE  ="):
        raise ShardCorrupt(f"not a FITS file: begins with {text[:9]!r}, expected b'SIMPLE  ='")
    offset, number = 0, 0
    # Whatever follows the last HDU is not data, by the standard.
    while number == 0 or text.startswith(b"XTENSION"):
        hdu, stop = _hdu(*_header(fetch, offset, text, number), number)
        if size is not None and stop > size:
            raise ShardCorrupt(f"HDU {hdu.name}: truncated: expected data up to byte {stop}, has {size}")
        yield hdu
        offset, number = _blocks(stop), number + 1
        text = fetch(offset, HEADER_READ)


def find_hdu(hdus: Iterable[Hdu], name: str) -> Hdu:
    """The first HDU of that name; ShardCorrupt when there is none."""
    for hdu in hdus:
        if hdu.name == name:
            return hdu
    raise ShardCorrupt(f"HDU {name}: missing, expected one of that name")


def digest(hdus: Iterable[Hdu], *tables: bytes) -> str:
    """sha256 of what headers say, and of some tables' bytes.

    Where headers hold DATASUM, as DESI's do, it changes with any number of the file.
    """
    found = hashlib.sha256()
    for hdu in hdus:
        found.update(hdu.text.encode("latin-1"))
    for table in tables:
        found.update(table)
    return found.hexdigest()


def table_bytes(fetch: Fetch, hdu: Hdu) -> bytes:
    """The rows of a binary table as they are in the file."""
    return fetch(hdu.extent.offset, hdu.rows * int(hdu.value("NAXIS1", 0)))


def alone_in_a_file(fetch: Fetch, hdu: Hdu) -> bytes:
    """A FITS file of one extension: this HDU with those of its cards that a library needs to decode it.

    astropy reads every header before the one that is asked for, and loops for ever over some broken ones.
    """
    axes = [int(hdu.value(f"NAXIS{k}", 0)) for k in range(1, int(hdu.value("NAXIS", 0)) + 1)]
    size = abs(int(hdu.value("BITPIX"))) // 8 * (math.prod(axes) + int(hdu.value("PCOUNT", 0)))
    kept = "".join(f"{key:<8}= {text}" for key, text in hdu.cards.items() if DECODING.fullmatch(key))
    return (
        _padded(PRIMARY, b" ")
        + _padded(kept.encode("latin-1", "replace"), b" ")
        + _padded(fetch(hdu.extent.offset, size), b"\0", end=b"")
    )


def _padded(content: bytes, filler: bytes, end: bytes = END) -> bytes:
    content += end
    return content + filler * (-len(content) % BLOCK)


def _hdu(text: str, data: int, number: int) -> tuple[Hdu, int]:
    """The HDU with this header, whose data begin at `data`, and the first byte after them."""
    cards: dict[str, str] = dict(CARDS.findall(text))
    name = str(_parse(cards.get("EXTNAME", "")) or ("" if number else "PRIMARY")).strip().upper()
    try:
        axes = _axes(cards, "NAXIS")
        width = abs(int(_parse(cards["BITPIX"]))) // 8
        heap = max(0, int(_parse(cards.get("PCOUNT", "0"))))
        extent = _extent(cards, axes, data)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ShardCorrupt(f"HDU {name}: expected integers for BITPIX and NAXISn: {error}") from error
    count = math.prod(axes) + heap if axes else 0
    return Hdu(name=name, text=text, cards=cards, extent=extent), data + width * count


def _header(fetch: Fetch, offset: int, text: bytes, number: int) -> tuple[str, int]:
    """A header's cards before END as one text, and the first byte after its last block.

    The header begins at `offset`, and `text` is what was read of it so far.
    """
    while (end := _end(text)) < 0:
        more = fetch(offset + len(text), HEADER_READ)
        if not more or len(text) > LONGEST_HEADER:
            raise ShardCorrupt(f"HDU number {number}: truncated: its header has no END")
        text += more
    return text[:end].decode("latin-1"), _blocks(offset + end + CARD)


def _end(text: bytes) -> int:
    """Where the END card begins, -1 without one; END inside another card's text does not count."""
    end = text.find(END)
    while end > 0 and end % CARD:
        end = text.find(END, end + 1)
    return end


def _blocks(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _axes(cards: Mapping[str, str], key: str) -> tuple[int, ...]:
    """The shape in numpy's order, slowest axis first."""
    axes = tuple(int(_parse(cards[f"{key}{k}"])) for k in range(int(_parse(cards[key])), 0, -1))
    if any(length < 0 for length in axes):
        raise ValueError(f"{key}n = {axes}")
    return axes


def _extent(cards: Mapping[str, str], axes: tuple[int, ...], data: int) -> Extent:
    if "ZIMAGE" in cards:
        return Extent(offset=data, dtype="", shape=_axes(cards, "ZNAXIS"))
    if "TFIELDS" in cards:
        rows, _ = axes
        return Extent(offset=data, dtype="", shape=(rows,))
    kind = (_parse(cards["BITPIX"]), _parse(cards.get("BZERO", "0")))
    scaled = _parse(cards.get("BSCALE", "1")) != 1
    return Extent(offset=data, dtype="" if scaled else IMAGE_TYPES.get(kind, ""), shape=axes)


@lru_cache(maxsize=4096)
def _parse(text: str) -> Any:
    """The value of a card from the text after "KEYWORD = "; cached, since headers repeat themselves."""
    text = text.strip()
    if text.startswith("'"):
        string = re.match(r"'((?:[^']|'')*)", text)
        return string.group(1).replace("''", "'").rstrip() if string else ""
    text = text.partition("/")[0].strip()
    if text in ("T", "F", ""):
        return {"T": True, "F": False, "": None}[text]
    return int(text) if text.isdecimal() else _number(text)


def _number(text: str) -> int | float | str:
    try:
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text.replace("D", "E"))
    except ValueError:
        return text
