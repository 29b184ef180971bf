"""Real tables: XP coefficients in two serialisations, an APOGEE table that repeats its ids."""

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from engine.auxiliary import join, open_tables
from engine.errors import PlanError
from tests.unit.auxiliary_tables import COLUMNS, asked, spectra

pytestmark = pytest.mark.realdata

XP = {"bp_terms": "bp_coefficients", "rp_terms": "rp_coefficients"}
IDS = [5762406957886626816, 1, 5853498713190525696]


def test_xp_coefficients_are_the_same_from_csv_and_fits(realdata: Path) -> None:
    found = {}
    for kind in ("csv", "fits"):
        path = realdata / "gaia_xp" / f"XP_CONTINUOUS_RAW.{kind}"
        found[kind] = join(spectra(IDS), open_tables([asked(path, columns=XP)], COLUMNS))
    assert found["csv"].equals(found["fits"])
    assert found["csv"].schema.field("bp_terms").type == pa.fixed_shape_tensor(pa.float64(), [55])
    assert found["csv"]["auxiliary_missing"].to_pylist() == [0, 2, 0]
    assert found["csv"]["bp_terms"][2].as_py()[0] == 56947.03696840172


def test_arrays_that_differ_in_length_between_sources(realdata: Path) -> None:
    path = realdata / "gaia_xp" / "XP_SAMPLED_RAW_dr3int6.csv"
    tables = open_tables([asked(path, columns={"flux": "flux"})], COLUMNS)
    assert tables[0].columns[0].type.shape == [343]


def test_apogee_repeats_its_stars(realdata: Path, tmp_path: Path) -> None:
    packed = realdata / "labels" / "APOGEE-allStar-v603-Hipparcos.fits.gz"
    columns = {"tmass_j": "J", "tmass_ks": "K", "e_tmass_ks": "K_ERR"}
    with pytest.raises(PlanError, match="convert or unpack it"):
        open_tables([asked(packed, key="APOGEE_ID", match="obs_id", columns=columns)], COLUMNS)
    path = tmp_path / "allStar.fits"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    with pytest.raises(PlanError, match="several rows for one APOGEE_ID, such as 2M"):
        open_tables([asked(path, key="APOGEE_ID", match="obs_id", columns=columns)], COLUMNS)
    by_row = asked(path, key="ASPCAP_ID", match="obs_id", columns=columns, missing=[-9999.0])
    try:
        (table,) = open_tables([by_row], COLUMNS)
    except PlanError as error:
        pytest.fail(str(error))
    assert [column.name for column in table.columns] == list(columns)
