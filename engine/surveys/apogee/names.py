"""What the path of an APOGEE file says: the star or visit, the telescope, the field."""

import re
from typing import Any

STAR_FILE = re.compile(r"(?:ap|as|aspcap)Star-(?P<rest>.+)\.fits")
MWM_FILE = re.compile(r"mwm(?:Star|Visit)-.+-(?P<sdss_id>\d{1,18})\.fits")
VISIT_FILE = re.compile(r"(?:ap|as)Visit-(?P<rest>.+)\.fits")
ANY_STAR_FILE = re.compile(r"(?:ap|as|aspcap)Star-.+\.fits|mwm(?:Star|Visit)-.+\.fits")

# 2M…: from 2MASS; AP…: targets that 2MASS lacks.
APOGEE_ID = re.compile(r"(?:2M|AP)\d{8}[+-]\d{7}[a-z]?")
TELESCOPE = re.compile(r"(?:apo25m|lco25m|apo1m)")
PLATE_MJD_FIBER = re.compile(r"(?P<plate>\d+)-(?P<mjd>\d{5})-(?P<fiber>\d{1,3})$")


def star_of(path: str) -> dict[str, Any]:
    """Keys that the path of a file of combined or resampled spectra gives away."""
    if mwm := MWM_FILE.fullmatch(base_name(path)):
        return {"sdss_id": int(mwm["sdss_id"])}
    return {"apogee_id": _apogee_id(path), "telescope": telescope_of(path), "field": _field(path)}


def visit_of(path: str) -> dict[str, Any]:
    """Keys that the path of an apVisit file gives away: not its star."""
    found = VISIT_FILE.fullmatch(base_name(path))
    numbers = PLATE_MJD_FIBER.search(found["rest"]) if found else None
    keys = {"telescope": telescope_of(path)}
    if numbers is None:
        return keys
    return keys | {"plate": numbers["plate"], "mjd": int(numbers["mjd"]), "fiber": int(numbers["fiber"])}


def visit_name(file: str) -> str:
    """Plate, MJD and fibre of the apVisit file that a header names; its whole name where it has others."""
    stem = file.removesuffix(".fits")
    numbers = PLATE_MJD_FIBER.search(stem)
    return numbers[0] if numbers else stem


def base_name(path: str) -> str:
    """The last part of a path."""
    return path.rpartition("/")[2]


def telescope_of(path: str) -> str | None:
    """From the folders or the name, else from the prefix: "as" files are those of Las Campanas."""
    if found := TELESCOPE.search(path):
        return found[0]
    return "lco25m" if re.match("as(Star|Visit)", base_name(path)) else None


def _apogee_id(path: str) -> str | None:
    found = STAR_FILE.fullmatch(base_name(path))
    if found is None:
        return None
    # At the 1 m telescope stars have names of all kinds: all that follows the version.
    plain = APOGEE_ID.search(found["rest"])
    return plain[0] if plain else found["rest"].partition("-")[2] or found["rest"]


def _field(path: str) -> str | None:
    """The folder below the telescope's; a number there is no field but a location or a HEALPix pixel."""
    folders = path.split("/")[:-1]
    if len(folders) < 2 or not TELESCOPE.fullmatch(folders[-2]) or folders[-1].isdecimal():
        return None
    return folders[-1]
