"""`abundant export` and `abundant explain` on a catalog that a run has made."""

import subprocess
import warnings
from pathlib import Path

import fitsio
from astropy.io import fits

from catalogs import open_catalog
from jobs.trace import trace
from tests.flows.command import Abundant


def test_a_row_is_traced_to_the_file_hdu_and_row_that_hold_it(abundant: Abundant, catalog: Path) -> None:
    opened = open_catalog(catalog)
    rows = opened.to_arrow().to_pylist()
    for row in rows:
        found = trace(row, opened.manifest)
        assert found is not None and found.place.hdus[0] == "FIBERMAP"
        with fitsio.FITS(found.address) as file:
            fibermap = file[found.place.hdus[0]][["TARGETID", "TARGET_RA"]][found.row]
            assert int(fibermap["TARGETID"]) == row["targetid"]
            if row["ra"] is not None:
                assert float(fibermap["TARGET_RA"]) == row["ra"]
    with fitsio.FITS(found.address) as file:
        assert all(file[name].get_dims()[0] > found.row for name in found.place.hdus[1:])
    said = abundant("explain", catalog, rows[-1]["targetid"])
    manifest = opened.manifest
    assert said.code == 0 and "plan" in manifest
    lines: dict[str, str] = {}
    for line in filter(str.strip, said.out.splitlines()):
        lines.setdefault(line.split()[0], line)
    assert found.address in lines["file"] and f"{found.row} of its spectra" in lines["row"]
    assert "FIBERMAP, B_FLUX" in lines["HDUs"] and rows[-1]["task_id"] in lines["task"]
    assert "random, desi_mlp_4" in lines["bundle"] and manifest["plan"]["bundle_sha256"] in said.out
    assert "draws 6" in lines["spec"] and "plan.spec in manifest.json" in lines["spec"]
    assert f"Abundant {manifest['plan']['versions']['abundant']}" in lines["code"]


def test_export_writes_each_form(abundant: Abundant, catalog: Path, tmp_path: Path) -> None:
    out = tmp_path / "stars.fits"
    done = abundant("export", catalog, out, "--columns", "targetid, teff", "--where", "NOT flag_bad")
    assert done.code == 0, done.err
    rows = open_catalog(catalog).to_arrow(["targetid", "flag_bad"]).to_pylist()
    assert fitsio.read(out, ext=1)["targetid"].tolist() == [
        row["targetid"] for row in rows if not row["flag_bad"]
    ]
    assert "2 columns" in done.err and str(out) in done.err
    assert abundant("export", catalog, tmp_path / "mrt", "--form", "mrt", "--sample", 20).code == 0
    assert len((tmp_path / "mrt" / "sample.dat").read_text().splitlines()) == 20
    about = tmp_path / "about.toml"
    about.write_text('licence = "CC-BY-4.0"\n[[creators]]\nname = "Doe, Jane"\n')
    released = abundant("export", catalog, tmp_path / "r", "--form", "release", "--about", about)
    assert released.code == 0 and "Note:" not in released.err
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(tmp_path / "r" / "test-1.fits", checksum=True) as file:
            assert len(file[1].data) == len(rows)
    check = ["sha256sum", "-c", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=tmp_path / "r", check=False).returncode == 0
    assert abundant("verify", catalog).code == 0


WRONG = {
    "no column 'nope'": ("--columns", "nope"),
    "no column ''": ("--columns", ""),
    "SQL": ("--where", "teff >"),
    "nothing to export": ("--where", "snr < -1"),
    "there is no such file": ("--about", "nowhere.toml"),
}


def test_a_wrong_request_is_a_message(abundant: Abundant, catalog: Path, tmp_path: Path) -> None:
    for said, words in WRONG.items():
        refused = abundant("export", catalog, tmp_path / "x", *words)
        found = (refused.code, said in refused.err, "Traceback" in refused.err)
        assert found == (2, True, False), refused.err
        assert not (tmp_path / "x").exists()
    (tmp_path / "x").mkdir()
    taken = abundant("export", catalog, tmp_path / "x")
    assert (taken.code, "exists already" in taken.err) == (2, True)
