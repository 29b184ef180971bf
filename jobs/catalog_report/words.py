"""Names, units and numbers as they stand in figures and on the page."""

from jobs.training_report.axes import SHORT_UNITS, symbol, unit_of

ROMAN = {"1": "I", "2": "II"}
PLAIN = {"teff": "Teff", "logg": "log g", "snr": "S/N per pixel", "a_li": "A(Li)", "dist": "distance"}


def sign(name: str) -> str:
    """A label or ratio for a figure; its own name where the program does not know it."""
    element, _, base = name.rpartition("_")
    if element and base in ("fe", "m"):
        return ratio(name)
    try:
        return symbol(name)
    except ValueError:
        return name


def plain(name: str) -> str:
    """The same without markup, for text."""
    return PLAIN.get(name) or sign(name)


def ratio(name: str) -> str:
    """[Mg/Fe], [Ti II/Fe], [α/M] of mg_fe, ti_2_fe, alpha_m."""
    element, _, base = name.rpartition("_")
    symbol_, _, ion = element.partition("_")
    first = "α" if symbol_ == "alpha" else symbol_.capitalize()
    return f"[{first}{' ' + ROMAN.get(ion, ion) if ion else ''}/{base.capitalize()}]"


def titled(name: str, unit: str) -> str:
    """An axis label: symbol and unit, dex left to the brackets."""
    short = unit_of(name, unit)
    return f"{sign(name)} [{short}]" if short and short != "dex" else sign(name)


def short(unit: str) -> str:
    """A unit as people write it."""
    return SHORT_UNITS.get(unit, unit)


def share(part: float, whole: float) -> str:
    """A share in per cent that never shows something as nothing; a dash where there is no whole."""
    if not whole:
        return "–"
    value = 100 * part / whole
    if value in (0, 100):
        return f"{value:.0f} %"
    return "<0.1 %" if 0 < value < 0.1 else ">99.9 %" if 99.9 < value < 100 else f"{value:.1f} %"


def few(value: float) -> str:
    """A number in a few digits."""
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return text.replace("-", "−")
