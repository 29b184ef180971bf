"""APOGEE: spectra of one star at rest (`apogee`), and single nights as observed (`apogee_visit`)."""

from engine.spec import SurveySpec
from engine.surveys.apogee.layout import ARMS, CHIPS, KEYS, VISIT_KEYS
from engine.surveys.apogee.mwm import count_mwm, read_mwm
from engine.surveys.apogee.names import ANY_STAR_FILE, VISIT_FILE, base_name, star_of, visit_of
from engine.surveys.apogee.star import count_aspcap, count_star, read_aspcap, read_star
from engine.surveys.apogee.visit import read_visit
from engine.surveys.assemble import Found
from engine.surveys.star_files import Files, with_files
from engine.surveys.store import Store
from engine.surveys.survey import Facts

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
    ),
    Files(
        pattern=VISIT_FILE,
        example="apVisit-*.fits or asVisit-*.fits",
        count=1,
        read=read_visit,
        from_name=visit_of,
    ),
)
