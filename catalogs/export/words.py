"""Units and text as FITS and the CDS want them."""

import re
import unicodedata

from astropy import units

LOGARITHM = re.compile(r"log\((.*)\)")
SPELT = {"²": "**2", "³": "**3", "…": "...", "–": "-", "×": "x", "σ": "sigma", "α": "alpha", "≥": ">="}


def ascii_text(text: str) -> str:
    """Text in printable ASCII: accents are dropped, symbols spelt, anything else becomes a question mark."""
    for symbol, spelt in SPELT.items():
        text = text.replace(symbol, spelt)
    plain = unicodedata.normalize("NFKD", text)
    kept = "".join(one for one in plain if not unicodedata.combining(one))
    return re.sub(r"[^\x20-\x7e]", " ", kept.encode("ascii", "replace").decode())


def fits_unit(unit: str) -> str:
    """A unit in the notation of the FITS standard (4.3): km s-1, log(cm s-2).

    dex is kept, though the standard does not list it: every reader knows it, and there is no other word.
    """
    if inner := LOGARITHM.fullmatch(unit):
        return f"log({fits_unit(inner[1])})"
    return _converted(unit, "fits")


def cds_unit(unit: str) -> str:
    """A unit in the notation of the CDS: km.s-1; brackets mean a logarithm, [cm.s-2], and [-] is dex."""
    if unit in ("", "dex"):
        return "[-]" if unit else "---"
    if inner := LOGARITHM.fullmatch(unit):
        return f"[{cds_unit(inner[1])}]"
    return _converted(unit, "cds")


def _converted(unit: str, form: str) -> str:
    try:
        return str(units.Unit(unit).to_string(form))
    except ValueError:
        return unit
