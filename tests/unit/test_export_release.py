"""A release: checksums that hold, provenance that rocrate reads, metadata without placeholders."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits
from rocrate.rocrate import ROCrate

from catalogs import open_catalog
from catalogs.export import crate
from catalogs.export.known import known
from catalogs.export.release import export
from catalogs.export.request import About, Asked, Creator, Related, Selection
from engine.errors import InputError, SpecError
from jobs.release import about_of
from tests.unit.exports import FLAG_WORDS, catalog

ABOUT = About(
    creators=(Creator(name="Doe, Jane", orcid="0000-0002-1825-0097", affiliation="Somewhere"),),
    related=(Related(identifier="10.5281/zenodo.1", relation="isSupplementTo"),),
)
FILES = {
    "stars-v1.fits",
    "sample.dat",
    "ReadMe",
    "SHA256SUMS",
    "ro-crate-metadata.json",
    ".zenodo.json",
    "datamodel.md",
    "manifest.json",
    "run.toml",
    "card.toml",
}


@pytest.fixture(scope="module")
def stars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return catalog(tmp_path_factory.mktemp("stars"))


@pytest.fixture(scope="module")
def release(stars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "release"
    done = export(Asked(catalog=stars, out=out, sample=20, about=ABOUT), "release")
    assert done.remarks == () and done.rows == 300
    return out


def test_every_file_is_there_and_its_checksum_holds(release: Path, tmp_path: Path) -> None:
    assert {path.name for path in release.iterdir()} == FILES
    listed = (release / "SHA256SUMS").read_text().splitlines()
    assert {line.split("  ")[1] for line in listed} == FILES - {"SHA256SUMS"}
    check = ["sha256sum", "-c", "--strict", "SHA256SUMS"]
    assert subprocess.run(check, cwd=release, capture_output=True, check=False).returncode == 0
    copy = Path(shutil.copytree(release, tmp_path / "copy"))
    (copy / "sample.dat").write_text("x")
    assert subprocess.run(check, cwd=copy, capture_output=True, check=False).returncode == 1


def test_people_and_licence_are_in_the_fits_file(release: Path) -> None:
    header = fits.getheader(release / "stars-v1.fits")
    assert (header["AUTHOR"], header["LICENCE"]) == ("Doe, Jane", "CC0-1.0")


def test_what_is_ours_is_no_reference() -> None:
    plan = {"spec": {"survey": {"name": "table"}}, "card": {"architecture": "rave_cnn_2020"}}
    manifest: Any = {"catalog": {"name": "n", "version": "v"}, "plan_digest": "", "plan": plan}
    found = known(manifest)
    assert found.survey_reference is None
    assert found.model_reference == "Guiglion et al. (2020, A&A 644, A168), 58,549 parameters"


def test_rocrate_reads_who_made_what_from_what(release: Path, stars: Path) -> None:
    found: Any = ROCrate(release)
    files = {entity.id: entity for entity in found.data_entities if entity.type == "File"}
    assert set(files) == FILES - {"SHA256SUMS", "ro-crate-metadata.json"}
    sums = dict(reversed(line.split("  ")) for line in (release / "SHA256SUMS").read_text().splitlines())
    assert all(entity["sha256"] == sums[name] for name, entity in files.items())
    assert found.root_dataset["version"] == "v1" and found.license.id.endswith("/CC0-1.0")
    assert [one["name"] for one in found.creator] == ["Doe, Jane"]
    run = found.dereference("#run")
    assert run.type == "CreateAction" and run["instrument"]["softwareVersion"] == "0.0.9"
    objects = {entity.id: entity for entity in run["object"]}
    assert {"#bundle", "run.toml", "#input/t000.fits", "#input/t001.fits", "#input/t002.fits"} == set(objects)
    assert objects["#bundle"]["sha256"] == "cd" * 32 and objects["#bundle"]["subjectOf"].id == "card.toml"
    assert objects["#input/t001.fits"]["description"] == "100 rows of the catalog"
    made = run["result"][0]
    assert made["identifier"] == open_catalog(stars).manifest["plan_digest"]
    written = found.dereference("#export")
    assert [entity.id for entity in written["object"]] == [made.id]
    assert "stars-v1.fits" in {entity.id for entity in written["result"]}


def test_many_inputs_are_told_by_the_manifest(
    stars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crate, "MOST_INPUTS", 2)
    export(Asked(catalog=stars, out=tmp_path / "r", sample=5), "release")
    found: Any = ROCrate(tmp_path / "r")
    [inputs] = [entity for entity in found.dereference("#run")["object"] if entity.id.startswith("#input")]
    assert (inputs["collectionSize"], inputs["subjectOf"].id) == (3, "manifest.json")


def test_zenodo_is_told_only_what_is_known(release: Path, tmp_path: Path) -> None:
    found = json.loads((release / ".zenodo.json").read_text())
    assert found["creators"] == [
        {"name": "Doe, Jane", "affiliation": "Somewhere", "orcid": "0000-0002-1825-0097"}
    ]
    assert (found["upload_type"], found["version"], found["license"]) == ("dataset", "v1", "cc0-1.0")
    assert {"identifier": "10.5281/zenodo.1", "relation": "isSupplementTo"} in found["related_identifiers"]
    assert "300 rows" in found["description"] and found["keywords"]
    bare = catalog(tmp_path / "bare", plan={})
    done = export(Asked(catalog=bare, out=tmp_path / "r", sample=5), "release")
    assert [remark.partition(",")[0] for remark in done.remarks] == [
        "no creators are known",
        "no licence is known: give it by --about",
    ]
    assert not {"license", "creators", "related_identifiers"} & {
        *json.loads((tmp_path / "r/.zenodo.json").read_text())
    }
    assert ROCrate(tmp_path / "r").dereference("#run") is not None


def test_the_data_model_has_every_column_and_flag(release: Path, stars: Path) -> None:
    page = (release / "datamodel.md").read_text()
    opened = open_catalog(stars)
    for name in opened.schema.names:
        assert f"| `{name}` |" in page
    known_teff = opened.rows - opened.to_arrow(["teff"])["teff"].null_count
    [teff] = [line for line in page.splitlines() if line.startswith("| `teff` |")]
    assert f"| K | phys.temperature.effective | {known_teff} |" in teff
    for flag in FLAG_WORDS:
        rows = opened.manifest["flag_counts"].get(str(flag["bit"]), 0)
        assert f"| {flag['bit']} | {1 << flag['bit']} | {flag['name']} | {rows} |" in page
    assert all(f"| `{file}` |" in page for file in FILES)


def test_a_chosen_part_is_a_release_too(stars: Path, tmp_path: Path) -> None:
    chosen = Selection(columns=("targetid", "teff"), where="teff > 5000")
    export(Asked(catalog=stars, out=tmp_path / "r", selection=chosen, sample=5), "release")
    assert "| selection | teff > 5000 |" in (tmp_path / "r" / "datamodel.md").read_text()


def test_an_about_file_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "about.toml"
    file.write_text('title = "T"\n[[creators]]\nname = "A"\norcid = "0000-0002-1825-0097"\n')
    assert about_of(file) == About(title="T", creators=(Creator(name="A", orcid="0000-0002-1825-0097"),))
    assert about_of(None) == About()
    for wrong in ('titel = "T"', '[[creators]]\nname = "A"\norcid = "1"', '[[related]]\nidentifier = "x"'):
        file.write_text(wrong)
        with pytest.raises(SpecError, match=r"about\.toml"):
            about_of(file)


def test_a_side_catalog_that_is_gone_is_said(tmp_path: Path) -> None:
    lonely = catalog(tmp_path)
    content = json.loads((lonely / "manifest.json").read_text())
    (lonely / "manifest.json").write_text(
        json.dumps(content | {"side": {"name": "stars-side", "version": "v1"}})
    )
    with pytest.raises(InputError, match="side catalog is missing"):
        export(Asked(catalog=lonely, out=tmp_path / "r"), "release")
    assert not (tmp_path / "r").exists()
    assert known(open_catalog(lonely).manifest).survey_title == "Dark Energy Spectroscopic Instrument"
