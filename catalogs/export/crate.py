"""RO-Crate: what was made, from what, by what. The run is a CreateAction, and so is the export."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from catalogs.export.known import Known
from catalogs.export.request import About

# More input files than this are told by the manifest, which lists them, and not one by one.
MOST_INPUTS = 500
FORMATS = {
    ".fits": "application/fits",
    ".json": "application/json",
    ".md": "text/markdown",
    ".toml": "application/toml",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release's folder: its files in words and by sha256; the input files, with rows where known."""

    folder: Path
    files: Mapping[str, str]
    sums: Mapping[str, str]
    inputs: Mapping[str, int | None]
    manifest: str
    spec: str
    card: str


def write_crate(release: Release, known: Known, about: About, description: str) -> None:
    """Write ro-crate-metadata.json into the folder."""
    from rocrate.rocrate import ROCrate

    crate: Any = ROCrate()
    crate.name, crate.description = about.title or known.title, description
    crate.root_dataset["version"] = known.version
    crate.root_dataset["identifier"] = known.plan_digest
    if known.created:
        crate.datePublished = known.created
    if licence := about.licence or known.bundle_licence:
        address = f"https://spdx.org/licenses/{quote(licence)}"
        crate.license = _entity(crate, address, "CreativeWork", name=licence)
    if about.keywords:
        crate.keywords = list(about.keywords)
    if about.creators:
        crate.creator = [
            _creator(crate, number, one.model_dump()) for number, one in enumerate(about.creators)
        ]
    for related in about.related:
        crate.root_dataset.append_to("citation", _entity(crate, related.identifier, "CreativeWork"))
    files = {name: _file(crate, release, name, what) for name, what in release.files.items()}
    _actions(crate, release, known, files)
    crate.metadata.write(release.folder)


def _actions(crate: Any, release: Release, known: Known, files: Mapping[str, Any]) -> None:
    made = _entity(
        crate,
        "#catalog",
        "Dataset",
        name=f"{known.name}/{known.version}",
        identifier=known.plan_digest,
        description="The published catalog (HATS, Parquet)",
        hasPart=[files[release.manifest]],
    )
    inputs = _inputs(crate, release, known, files[release.manifest])
    objects = [*inputs, _bundle(crate, known, files.get(release.card)), files[release.spec]]
    run = crate.add_action(
        _software(crate, "#abundant", known.code, known.versions),
        identifier="#run",
        object=[one for one in objects if one is not None],
        result=[made],
        properties=_plain(name="Inference of labels", endTime=known.created),
    )
    export = crate.add_action(
        _software(crate, "#exporter", version("abundant"), {}),
        identifier="#export",
        object=[made],
        result=[file for name, file in files.items() if name != release.manifest],
        properties={"name": "Export of the catalog"},
    )
    crate.root_dataset["mentions"] = [run, export]


def _file(crate: Any, release: Release, name: str, what: str) -> Any:
    path = release.folder / name
    about = {"name": name, "description": what, "contentSize": str(path.stat().st_size)}
    about |= {"sha256": release.sums[name], "encodingFormat": FORMATS.get(path.suffix, "text/plain")}
    return crate.add_file(path, name, properties=about)


def _inputs(crate: Any, release: Release, known: Known, manifest: Any) -> Sequence[Any]:
    """An entity for each input file, or for many of them one that refers to the manifest."""
    place = {"url": known.root} if known.root and "://" in known.root else {}
    if len(release.inputs) > MOST_INPUTS:
        many = _entity(
            crate,
            "#inputs",
            "Collection",
            name=f"{len(release.inputs):,} files of {known.survey_title or known.survey or 'the survey'}",
            description=f"By path under `shards` in {release.manifest}",
            collectionSize=len(release.inputs),
            subjectOf=manifest,
            **place,
        )
        return [many]
    return [_input(crate, file, rows, known) for file, rows in release.inputs.items()]


def _input(crate: Any, file: str, rows: int | None, known: Known) -> Any:
    remote = known.root is not None and "://" in known.root
    url = {"url": f"{known.root}/{file}"} if remote else {}
    counted = {} if rows is None else {"description": f"{rows:,} rows of the catalog"}
    return _entity(crate, f"#input/{quote(file)}", "CreativeWork", name=file, **counted, **url)


def _bundle(crate: Any, known: Known, card: Any) -> Any | None:
    if known.bundle is None:
        return None
    return _entity(
        crate,
        "#bundle",
        "CreativeWork",
        name=known.bundle,
        description=f"Trained model ({known.architecture})" if known.architecture else "Trained model",
        sha256=known.bundle_sha256,
        license=known.bundle_licence,
        citation=known.model_reference,
        subjectOf=card,
    )


def _software(crate: Any, identifier: str, code: str | None, versions: Mapping[str, str]) -> Any:
    """The program; what its labels can depend on beside it, as its requirements."""
    needs = [f"{name} {one}" for name, one in versions.items() if name != "abundant"]
    about = {"name": "Abundant", "softwareVersion": code, "softwareRequirements": needs}
    return _entity(crate, identifier, "SoftwareApplication", **about)


def _creator(crate: Any, number: int, about: Mapping[str, str | None]) -> Any:
    identifier = f"https://orcid.org/{about['orcid']}" if about["orcid"] else f"#creator-{number + 1}"
    return _entity(crate, identifier, "Person", name=about["name"], affiliation=about["affiliation"])


def _entity(crate: Any, address: str, kind: str, /, **about: Any) -> Any:
    from rocrate.model.contextentity import ContextEntity

    made = ContextEntity(crate, address, properties={"@type": kind})
    for key, value in _plain(**about).items():
        made[key] = value
    return crate.add(made)


def _plain(**about: Any) -> dict[str, Any]:
    """What is known of it."""
    return {key: value for key, value in about.items() if value not in (None, "", [])}
