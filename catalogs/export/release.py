"""The forms of an export: a FITS file, a CDS sample with its ReadMe, a folder with all there is."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from catalogs.export.checksums import SUMS, sums_of, write_sums
from catalogs.export.crate import Release, write_crate
from catalogs.export.datamodel import PAGE, Table, data_model
from catalogs.export.fits import write_fits
from catalogs.export.known import Known, files_of, known
from catalogs.export.mrt import DATA, README, write_mrt
from catalogs.export.place import new_place
from catalogs.export.request import Asked, Exported, Selection, Step
from catalogs.export.rows import Measured, Source, measure, sample, source_of
from catalogs.export.zenodo import description, missing, zenodo
from catalogs.layout import MANIFEST, sha256_file
from catalogs.query import query
from catalogs.side import side_of
from engine.errors import InputError

NO_SIDE = "the side catalog is left out, since only some rows or columns are exported"
CRATE, ZENODO, SPEC, CARD = "ro-crate-metadata.json", ".zenodo.json", "run.toml", "card.toml"


def export(asked: Asked, form: str, on_step: Step = lambda _step, _done, _of: None) -> Exported:
    """Export a catalog in one of FORMS.

    InputError when `out` is taken or the selection is wrong or empty; RunError when the disk is full.
    """
    with new_place(asked.out) as place:
        source = source_of(asked.catalog, asked.selection)
        on_step("counting", 0, 1)
        measured = measure(source)
        on_step("counting", 1, 1)
        if not measured.rows:
            raise InputError(f"no row of {source.catalog.path} is chosen; there is nothing to export")
        remarks = FORMS[form](place, asked, source, measured, on_step)
        size = sum(path.stat().st_size for path in (place, *place.rglob("*")) if path.is_file())
    return Exported(
        out=asked.out, rows=measured.rows, columns=len(source.fields), bytes=size, remarks=tuple(remarks)
    )


def _fits(place: Path, asked: Asked, source: Source, measured: Measured, on_step: Step) -> list[str]:
    write_fits(place, source, measured, about=asked.about, on_step=on_step)
    return []


def _mrt(place: Path, asked: Asked, source: Source, measured: Measured, on_step: Step) -> list[str]:
    place.mkdir(exist_ok=True)
    on_step("sampling", 0, 1)
    chosen = sample(source, asked.sample)
    manifest = source.catalog.manifest
    write_mrt(place, chosen, total=measured.rows, known=known(manifest), about=asked.about, manifest=manifest)
    on_step("sampling", 1, 1)
    return []


def _release(place: Path, asked: Asked, source: Source, measured: Measured, on_step: Step) -> list[str]:
    place.mkdir()
    facts = known(source.catalog.manifest)
    tables = [Table(file=_file_name(facts), source=source, measured=measured)]
    if (side := _side(asked, source)) is not None:
        tables.append(
            Table(file=_file_name(known(side.catalog.manifest)), source=side, measured=measure(side))
        )
    for table in tables:
        write_fits(place / table.file, table.source, table.measured, about=asked.about, on_step=on_step)
    _mrt(place, asked, source, measured, on_step)
    on_step("describing", 0, 1)
    _describe(place, asked, tuple(tables), facts)
    on_step("describing", 1, 1)
    left_out = "side" in source.catalog.manifest and len(tables) == 1
    return [*([NO_SIDE] if left_out else []), *missing(facts, asked.about)]


def _side(asked: Asked, source: Source) -> Source | None:
    """The side catalog of a whole catalog; none where some rows or columns are chosen, which it may lack."""
    address = side_of(source.catalog.path, source.catalog.manifest)
    if address is None or asked.selection != Selection():
        return None
    try:
        return source_of(address if isinstance(address, Path) else str(address), Selection())
    except InputError as error:
        raise InputError(f"the side catalog is missing: {error}; put it back, or use --form fits") from error


def _describe(place: Path, asked: Asked, tables: tuple[Table, ...], facts: Known) -> None:
    """Everything beside the tables; what describes the others comes after them."""
    source, measured = tables[0].source, tables[0].measured
    files = _files(tables, facts)
    (place / MANIFEST).write_bytes((source.catalog.path / MANIFEST).read_bytes())
    (place / SPEC).write_text(tomli_w.dumps(_without_none(facts.spec)), encoding="utf-8")
    if CARD in files:
        (place / CARD).write_text(tomli_w.dumps(_without_none(facts.card)), encoding="utf-8")
    (place / PAGE).write_text(data_model(tables, files, facts, asked.about), encoding="utf-8")
    deposit = zenodo(facts, asked.about, measured)
    (place / ZENODO).write_text(json.dumps(deposit, indent=1, ensure_ascii=False), encoding="utf-8")
    described = {name: what for name, what in files.items() if name not in (CRATE, SUMS)}
    crate = Release(
        folder=place,
        files=described,
        sums=sums_of(place),
        inputs=_inputs(source),
        manifest=MANIFEST,
        spec=SPEC,
        card=CARD,
    )
    write_crate(crate, facts, asked.about, description(facts, asked.about, measured))
    write_sums(place, {**crate.sums, CRATE: sha256_file(place / CRATE)})


def _files(tables: tuple[Table, ...], facts: Known) -> dict[str, str]:
    """The files of a release, in words."""
    words = ("The catalog: every chosen row", "The side catalog: the same rows with what is wide")
    return {
        **{table.file: what for table, what in zip(tables, words, strict=False)},
        DATA: "A sample of the rows in columns of ASCII, as the CDS and the journals read them",
        README: "The CDS's byte-by-byte description of the sample",
        PAGE: "Every file, column and flag",
        MANIFEST: "The catalog's manifest: plan, versions, input files, sha256 of its Parquet files",
        SPEC: "The spec of the run, with its defaults",
        **({CARD: "The model card of the bundle"} if facts.card else {}),
        ZENODO: "Metadata for a deposit at Zenodo",
        CRATE: "Provenance as RO-Crate",
        SUMS: "sha256 of all these files",
    }


def _inputs(source: Source) -> Mapping[str, int | None]:
    """The input files, each with the rows of the catalog that came from it where one file is one shard."""
    manifest = source.catalog.manifest
    sql = "SELECT shard_id, count(*) AS number FROM catalog WHERE shard_id IS NOT NULL GROUP BY shard_id"
    found = {row["shard_id"]: row["number"] for row in query(source.address, sql).to_pylist()}
    single = {
        path: found.get(shard, 0)
        for shard, path in manifest.get("shards", {}).items()
        if isinstance(path, str)
    }
    return {file: single.get(file) for file in files_of(manifest)}


def _file_name(facts: Known) -> str:
    return f"{facts.name}-{facts.version}.fits"


def _without_none(plain: Any) -> Any:
    """TOML has no NULL: what is not said is left out."""
    if isinstance(plain, dict):
        return {key: _without_none(value) for key, value in plain.items() if value is not None}
    if isinstance(plain, list | tuple):
        return [_without_none(value) for value in plain if value is not None]
    return plain


FORMS: Mapping[str, Callable[[Path, Asked, Source, Measured, Step], list[str]]] = {
    "fits": _fits,
    "mrt": _mrt,
    "release": _release,
}
