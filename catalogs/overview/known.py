"""What a catalog has: its labels with their training ranges, and the abundance ratios that can be formed."""

from collections.abc import Mapping, Sequence
from typing import Any

from catalogs.macros import labels_of
from catalogs.overview.records import Ratio
from catalogs.read import Catalog
from catalogs.sql import name

# The metallicity that a ratio is drawn against, by what the ratio is to; the first that is there.
BASES = {"fe": ("fe_h", "m_h"), "m": ("m_h", "fe_h")}
METALLICITIES = ("fe_h", "m_h")


def card_of(catalog: Catalog) -> Mapping[str, Any]:
    """The bundle's card as the manifest has it; empty where it has none."""
    card = catalog.manifest.get("plan", {}).get("card", {})
    return card if isinstance(card, dict) else {}


def limits_of(catalog: Catalog) -> dict[str, tuple[float, float]]:
    """The training ranges of labels, as far as the manifest knows them."""
    found = {}
    for label in card_of(catalog).get("labels", ()):
        low, high = label.get("low"), label.get("high")
        if low is not None and high is not None and high > low:
            found[label["name"]] = (float(low), float(high))
    return found


def unit_of(catalog: Catalog, column: str) -> str:
    """A column's unit as its own metadata have it, "" without one."""
    return (catalog.schema.field(column).metadata or {}).get(b"unit", b"").decode()


def catalog_labels(catalog: Catalog) -> tuple[str, ...]:
    """The labels, in the order of their columns."""
    return tuple(labels_of(catalog.schema.names))


def metallicity(labels: Sequence[str]) -> str | None:
    """The label that metallicity is read from."""
    return next((one for one in METALLICITIES if one in labels), None)


def ratios(labels: Sequence[str]) -> tuple[Ratio, ...]:
    """[X/Fe] of every element: the catalog's own column, else [X/H] - [Fe/H]."""
    found: dict[str, Ratio] = {}
    for label in labels:
        element, _, base = label.rpartition("_")
        against = next((one for one in BASES.get(base, ()) if one in labels), None)
        if element and against:
            found[element] = Ratio(name=label, base=against, column=label)
    base = metallicity(labels)
    for label in labels:
        element, _, of = label.rpartition("_")
        if base and of == "h" and label not in METALLICITIES and element not in found:
            ratio = f"{element}_{base.removesuffix('_h')}"
            found[element] = Ratio(name=ratio, base=base, minuend=label)
    return tuple(found.values())


def good(*labels: str) -> str:
    """SQL of rows whose labels are all good: known, in the training range, and not flag_bad."""
    known = (f"{name(label)} IS NOT NULL AND {name(f'flag_{label}')} = 0" for label in labels)
    return " AND ".join(["NOT flag_bad", *known])
