"""Tiny files in DESI's format, made in code, with a knob for everything a test turns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pyarrow as pa
from astropy.io import fits

from engine.spec import SurveySpec
from engine.surveys.desi import DESI
from engine.types import Task

ARMS = {"B": (3600.0, 2751), "R": (5760.0, 2326), "Z": (7520.0, 2881)}
MWS_ANY = 1 << 61


@dataclass(frozen=True, kw_only=True)
class DesiFile:
    """What to write. `fibermap` columns replace or, when None, remove the usual ones.

    `mask_kind`: int32, uint32 (BZERO) or compressed. `images` replaces HDUs by name, None leaves one out.
    """

    rows: int = 4
    seed: int = 0
    fibermap: Mapping[str, Any] = field(default_factory=dict)
    header: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, Any] = field(default_factory=dict)
    mask_kind: str = "int32"
    shuffled: bool = False
    resolution: bool = False

    def write(self, path: Path) -> Path:
        """Write the file, its folders included."""
        path.parent.mkdir(parents=True, exist_ok=True)
        hdus = [("FIBERMAP", self.table()), *self.arrays().items()]
        if self.shuffled:
            hdus = [("SCORES", np.zeros(self.rows, [("X", "f4")])), *hdus[::-1]]
        # astropy writes what fitsio cannot: images without a row, and infinities (fitsio makes them NaN).
        primary = fits.PrimaryHDU(header=fits.Header(dict(self.header)))
        fits.HDUList([primary, *(self.hdu(name, data) for name, data in hdus)]).writeto(path, overwrite=True)
        return path

    def hdu(self, name: str, data: np.ndarray) -> Any:
        """One table or image."""
        if data.dtype.names:
            return fits.BinTableHDU(data, name=name)
        if self.mask_kind == "compressed" and name.endswith("_MASK"):
            return fits.CompImageHDU(data, name=name, compression_type="GZIP_1")
        return fits.ImageHDU(data, name=name)

    def table(self) -> np.ndarray:
        """The FIBERMAP."""
        count = self.rows
        columns: dict[str, Any] = {
            "TARGETID": 39633297352951412 + np.arange(count),
            "TARGET_RA": np.linspace(10.0, 20.0, count),
            "TARGET_DEC": np.linspace(-5.0, 5.0, count),
            "OBJTYPE": np.full(count, "TGT", "S3"),
            "EBV": np.full(count, 0.05, "f4"),
            "REF_ID": 4295806720 + np.arange(count),
            "REF_CAT": np.full(count, "G2", "S2"),
            "GAIA_PHOT_G_MEAN_MAG": np.full(count, 17.0, "f4"),
            "GAIA_PHOT_BP_MEAN_MAG": np.full(count, 17.5, "f4"),
            "GAIA_PHOT_RP_MEAN_MAG": np.full(count, 16.5, "f4"),
            "PARALLAX": np.full(count, 0.4, "f4"),
            "DESI_TARGET": np.full(count, MWS_ANY, "i8"),
            "MWS_TARGET": np.zeros(count, "i8"),
            "COADD_FIBERSTATUS": np.zeros(count, "i4"),
        }
        columns = {
            name: values for name, values in (columns | dict(self.fibermap)).items() if values is not None
        }
        table = np.zeros(count, [(name, np.asarray(values).dtype) for name, values in columns.items()])
        for name, values in columns.items():
            table[name] = values
        return table

    def arrays(self) -> dict[str, np.ndarray]:
        """Wavelengths, flux, ivar and mask of each arm, as they should be read back."""
        random = np.random.default_rng(self.seed)
        arrays: dict[str, Any] = {}
        kind = np.int32 if self.mask_kind == "int32" else np.uint32
        for arm, (start, pixels) in ARMS.items():
            shape = (self.rows, pixels)
            arrays[f"{arm}_WAVELENGTH"] = start + 0.8 * np.arange(pixels)
            arrays[f"{arm}_FLUX"] = random.normal(10, 1, shape).astype("f4")
            arrays[f"{arm}_IVAR"] = random.uniform(0, 4, shape).astype("f4")
            arrays[f"{arm}_MASK"] = random.choice([0, 0, 0, 2, 2**12], shape).astype(kind)
            if self.resolution:
                arrays[f"{arm}_RESOLUTION"] = np.zeros((self.rows, 11, pixels), "f4")
        return {name: data for name, data in (arrays | dict(self.images)).items() if data is not None}


def write_redrock(path: Path, targetid: Any, **columns: Any) -> Path:
    """A redrock file with these targets; Z, ZERR, ZWARN and SPECTYPE may be given."""
    usual = {
        "TARGETID": np.asarray(targetid, "i8"),
        "Z": np.full(len(targetid), 1e-4),
        "ZERR": np.full(len(targetid), 1e-5),
        "ZWARN": np.zeros(len(targetid), "i8"),
        "SPECTYPE": np.full(len(targetid), "STAR", "S6"),
    }
    fitsio.write(
        str(path),
        usual | {name: np.asarray(values) for name, values in columns.items()},
        extname="REDSHIFTS",
        clobber=True,
    )
    return path


def survey_spec(root: Path, **sections: Any) -> SurveySpec:
    """A survey section for this root; every row and no velocity unless told otherwise."""
    usual = {"name": "desi", "root": root, "select": {"by": "all"}, "rv": {"from": "none"}}
    return SurveySpec.model_validate(usual | sections)


def tasks_of(spec: SurveySpec) -> list[Task]:
    """One task for each file under the root, whole."""
    shards = DESI.list_shards(spec)
    return [Task(task_id=shard.path, shard=shard, start=0, stop=shard.rows) for shard in shards]


def read_all(root: Path, **sections: Any) -> pa.Table:
    """Every file under the root, read as the spec says, one after the other."""
    spec = survey_spec(root, **sections)
    return pa.concat_tables(DESI.read(spec, task) for task in tasks_of(spec))


def array(table: pa.Table, name: str) -> np.ndarray:
    """A tensor column as (rows, pixels)."""
    return table[name].combine_chunks().to_numpy_ndarray()
