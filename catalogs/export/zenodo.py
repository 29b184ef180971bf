""".zenodo.json: what Zenodo asks of a deposit. Only what is known; nothing is made up to fill a field."""

import re
from collections.abc import Iterator
from html import escape
from typing import Any

from catalogs.export.known import Known
from catalogs.export.request import About
from catalogs.export.rows import Measured

ADDRESS = re.compile(r"https?://\S+")
DOI = re.compile(r"\b10\.\d{4,9}/[^\s;,]+")


def zenodo(known: Known, about: About, measured: Measured) -> dict[str, Any]:
    """The deposit's metadata, as plain values."""
    licence = about.licence or known.bundle_licence
    fields: dict[str, Any] = {
        "upload_type": "dataset",
        "title": about.title or known.title,
        "version": known.version,
        "description": f"<p>{escape(description(known, about, measured))}</p>",
        "license": licence.casefold() if licence else None,
        "keywords": list(about.keywords or keywords(known)),
        "creators": [one.model_dump(exclude_none=True) for one in about.creators],
        "related_identifiers": list(_related(known, about)),
        "references": [one for one in references(known) if not (DOI.search(one) or ADDRESS.search(one))],
    }
    return {key: value for key, value in fields.items() if value}


def description(known: Known, about: About, measured: Measured) -> str:
    """What the catalog is, in a sentence or as many as people gave."""
    if about.description:
        return about.description
    of = f" for spectra of {known.survey_title}" if known.survey_title else ""
    by = f" by the model {known.bundle} ({known.architecture})" if known.bundle else ""
    code = f" with Abundant {known.code}" if known.code else ""
    counts = f"{measured.rows:,} rows, {len(measured.columns)} columns"
    return f"Stellar labels with errors and flags{of}, inferred{by}{code}: {counts}."


def keywords(known: Known) -> list[str]:
    """What a catalog of this program is about."""
    return ["stellar parameters", "stellar spectra", *([known.survey_title] if known.survey_title else [])]


def references(known: Known) -> list[str]:
    """The survey's and the network's own, as they are registered."""
    return [one for one in (known.survey_reference, known.model_reference) if one]


def missing(known: Known, about: About) -> Iterator[str]:
    """What Zenodo needs and nobody has said, a sentence each."""
    if not about.creators:
        yield "no creators are known, which Zenodo requires: give them by --about"
    if not (about.licence or known.bundle_licence):
        yield "no licence is known: give it by --about, as an SPDX identifier such as CC-BY-4.0"


def _related(known: Known, about: About) -> Iterator[dict[str, str]]:
    for one in about.related:
        yield {"identifier": one.identifier, "relation": one.relation}
    if known.survey_reference:
        for found in (*DOI.findall(known.survey_reference), *ADDRESS.findall(known.survey_reference)):
            yield {"identifier": found, "relation": "isDerivedFrom"}
