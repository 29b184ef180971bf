"""APOGEE: spectra of one star at rest (`apogee`), and single nights as observed (`apogee_visit`)."""

from engine.spec import SurveySpec
from engine.surveys.apogee.layout import ARMS, CHIPS, KEYS, VISIT_KEYS
from engine.surveys.apogee.mwm import TABLES, count_mwm, read_mwm
from engine.surveys.apogee.names import ANY_STAR_FILE, VISIT_FILE, base_name, star_of, visit_of
from engine.surveys.apogee.star import count_aspcap, count_star, read_aspcap, read_star
from engine.surveys.apogee.visit import read_visit
from engine.surveys.assemble import Found
from engine.surveys.star_files import Files, with_files
from engine.surveys.store import Store
from engine.surveys.survey import Facts, Place

# By the kind of file that a name begins with: how to count its spectra, and how to read them.
KINDS = {
    "apStar": (count_star, read_star),
    "asStar": (count_star, read_star),
    "aspcapStar": (count_aspcap, read_aspcap),
    "mwmStar": (count_mwm, read_mwm),
    "mwmVisit": (count_mwm, read_mwm),
}


def count(spec: SurveySpec, store: Store, name: str) -> int:
    """Spectra in a file of any kind."""
    return KINDS[_kind(name)][0](spec, store, name)


def read(spec: SurveySpec, store: Store, name: str, start: int, stop: int) -> Found:
    """Spectra [start, stop) of a file of any kind."""
    return KINDS[_kind(name)][1](spec, store, name, start, stop)


def _kind(name: str) -> str:
    return base_name(name).partition("-")[0]


def place(file: str, row: int, spectra: str) -> Place:
    """Where a spectrum lies, which each kind of file has in its own way."""
    kind = _kind(file)
    if kind.startswith("mwm"):
        return Place(hdus=TABLES, remark="rows counted through both")
    if kind == "aspcapStar":
        return Place(hdus=("1", "2"), remark="one spectrum")
    if spectra == "visits":
        what = f"two coadds come first: row {row + 2}; a star of one visit has a vector"
        return Place(hdus=("1", "2", "3"), remark=what)
    return Place(hdus=("1", "2", "3"), remark="the coadd, row 0 of each")


APOGEE = with_files(
    Facts(
        name="apogee",
        title="APOGEE: spectra of a star at rest, combined or visit by visit",
        reference="https://www.sdss.org/dr17/irspec/spectra/",
        keys=KEYS,
        star_key="apogee_id",
        files=(
            "apStar-dr17-2M00000002+7417074.fits",
            "aspcapStar-dr17-2M00000002+7417074.fits",
            "mwmStar-0.6.0-12345678.fits",
            "mwmVisit-0.6.0-12345678.fits",
        ),
        arms=ARMS,
        frame="rest",
        medium="vacuum",
        place=place,
        follows=frozenset({"spectra"}),
    ),
    Files(
        pattern=ANY_STAR_FILE,
        example="apStar-*.fits, asStar-*.fits, aspcapStar-*.fits, mwmStar-*.fits or mwmVisit-*.fits",
        count=count,
        read=read,
        from_name=star_of,
    ),
)

APOGEE_VISIT = with_files(
    Facts(
        name="apogee_visit",
        title="APOGEE: single nights as observed",
        reference="https://www.sdss.org/dr17/irspec/spectra/",
        keys=VISIT_KEYS,
        star_key="apogee_id",
        files=("apVisit-dr17-4914-55807-100.fits",),
        arms=CHIPS,
        frame="observed",
        medium="vacuum",
        place=Place(hdus=("1", "2", "3", "4"), remark="flux, errors, mask, wavelengths; a row for each chip"),
    ),
    Files(
        pattern=VISIT_FILE,
        example="apVisit-*.fits or asVisit-*.fits",
        count=1,
        read=read_visit,
        from_name=visit_of,
    ),
)
