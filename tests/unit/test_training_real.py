"""Real label tables: APOGEE's allStar (packed FITS, -9999, repeated stars, flags), a CSV of LAMOST ids."""

import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

from engine.errors import PlanError
from engine.spec import SurveySpec
from engine.surveys import SURVEYS, survey_of
from engine.surveys.survey import Survey
from engine.train.labels import read_labels
from engine.train.spec import LabelTable

pytestmark = pytest.mark.realdata

ALLSTAR = "APOGEE-allStar-v603-Hipparcos.fits.gz"
COLUMNS = {
    "apogee_id": "APOGEE_ID",
    "teff": "TEFF",
    "e_teff": "TEFF_ERR",
    "m_h": "PARAM_M_H",
    "e_m_h": "PARAM_M_H_ERR",
    "mg_h": "MG_H",
    "e_mg_h": "MG_H_ERR",
    "k_mag": "K",
}


def allstar(realdata: Path, **changes: Any) -> LabelTable:
    plain = {
        "path": realdata / "labels" / ALLSTAR,
        "key": ["apogee_id"],
        "names": ["teff", "m_h", "mg_h"],
        "columns": COLUMNS,
        "flagged": {"mg_h": "MG_H_FLAG & 0b11"},
        "error_floor": {"teff": 20.0, "m_h": 0.02, "mg_h": 0.02},
    }
    return LabelTable.model_validate(plain | changes)


@pytest.fixture(scope="module")
def theirs(realdata: Path) -> Any:
    with gzip.open(realdata / "labels" / ALLSTAR) as packed, fits.open(packed) as file:
        return np.array(file[1].data)


def test_stars_that_repeat_are_refused_until_it_is_said_which_row_is_best(
    realdata: Path, theirs: Any
) -> None:
    ids = np.char.strip(theirs["APOGEE_ID"].astype(str))
    with pytest.raises(PlanError, match=f"{len(ids) - len(set(ids))} rows repeat a key, such as 2M"):
        read_labels(allstar(realdata), SURVEYS["apogee"])
    labels = read_labels(allstar(realdata, best="SNR"), SURVEYS["apogee"], cut_names={"SNR", "STARFLAG"})
    assert labels.about.rows == len(ids)
    matched = labels.match(pa.table({"apogee_id": sorted(set(ids))}), ids.tolist())
    for row, star in enumerate(sorted(set(ids))):
        same = np.flatnonzero(ids == star)
        assert matched.columns["SNR"][row].as_py() == pytest.approx(
            float(theirs["SNR"][same].max()), nan_ok=True
        )
    assert labels.schema.field("STARFLAG").type == pa.int64()


def test_missing_and_flagged_labels_are_missing_and_the_star_stays(realdata: Path, theirs: Any) -> None:
    labels = read_labels(allstar(realdata, key=["id"], columns=COLUMNS | {"id": "ASPCAP_ID"}), any_survey())
    ids = np.char.strip(theirs["ASPCAP_ID"].astype(str))
    matched = labels.match(pa.table({"id": ids}), ids.tolist())
    for place, name in enumerate(("TEFF", "PARAM_M_H", "MG_H")):
        values = theirs[name].astype(np.float32)
        there = np.isfinite(values) & (values > -9998)
        if name == "MG_H":
            there &= (theirs["MG_H_FLAG"] & 3) == 0
        assert matched.known_NL[:, place].tolist() == there.tolist()
        np.testing.assert_array_equal(matched.label_NL[there, place], values[there])
        errors = theirs[f"{name}_ERR"].astype(np.float32)[there]
        np.testing.assert_array_equal(matched.error_NL[there, place], np.where(errors > 0, errors, 0))
    assert 0 < matched.known_NL[:, 2].sum() < matched.known_NL[:, 0].sum() < len(theirs)


def test_a_csv_with_text_ids_and_other_names(realdata: Path) -> None:
    path = realdata / "labels" / "apogee_dr12_lamost_reference_labels.csv"
    table = LabelTable.model_validate(
        {
            "path": path,
            "key": ["id"],
            "names": ["teff", "fe_h", "alpha_fe"],
            "columns": {"fe_h": "feh", "alpha_fe": "alpha"},
            "error_floor": {"teff": 50.0, "fe_h": 0.05, "alpha_fe": 0.05},
        }
    )
    labels = read_labels(table, any_survey())
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert labels.about.rows == len(rows)
    some = rows[::29]
    matched = labels.match(pa.table({"id": [row["id"] for row in some]}), [""] * len(some))
    wanted = [[float(row[name]) for name in ("teff", "feh", "alpha")] for row in some]
    known_NL = np.array(wanted) > -9998
    assert not known_NL.all()
    np.testing.assert_array_equal(matched.label_NL, np.where(known_NL, np.array(wanted, np.float32), np.nan))


def any_survey() -> Survey:
    """Spectra in tables, with text for an id."""
    columns = {"id_type": "text", "ivar": "ivar", "grid": (4000.0, 1.0), "pixels": 100}
    plain = {"name": "table", "root": "spectra", "table": columns | {"frame": "rest", "medium": "air"}}
    return survey_of(SurveySpec.model_validate(plain))
