"""GALAH DR3 spectra: a FITS file for each of HERMES' four cameras, barycentric, wavelengths in air.

Legend: N stars, P pixels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import fitsio
import numpy as np
import pyarrow as pa

from engine.simulate.lines import air_to_vacuum
from engine.simulate.spectrum import LIGHT_SPEED, planck
from engine.simulate.surveys.driver import OnFile, Recipe, replacing
from engine.simulate.surveys.stars import Chunk
from engine.simulate.window import Window, observe_window, synthesize_window

_PIXELS: Final = 4096
# One star in so many lacks the camera in the infrared, which is what DR3 lacks most often.
_LACKS_CAMERA_IN: Final = 23


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """One camera: its number, first wavelength and step (Å, air), and how good it is (S/N over that of 3)."""

    number: int
    start: float
    step: float
    quality: float

    @property
    def window(self) -> Window:
        """What it sees."""
        low, high = self.start - 3, self.start + self.step * _PIXELS + 5
        return Window(low=low, high=high, step=0.05, resolving_power=28_000)


CAMERAS: Final = (
    Camera(number=1, start=4713.3, step=0.0461, quality=0.55),
    Camera(number=2, start=5648.1, step=0.0545, quality=0.85),
    Camera(number=3, start=6477.5, step=0.0630, quality=1.0),
    Camera(number=4, start=7584.9, step=0.0736, quality=0.9),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exposure:
    """What one camera recorded of one star: counts, relative errors, counts over their continuum."""

    flux_P: np.ndarray
    relative_P: np.ndarray
    normal_P: np.ndarray


def _write(folder: Path, chunk: Chunk, on_file: OnFile) -> dict[str, Any]:
    """Write the files of each star of a chunk."""
    snr_N = chunk.snr(best=140.0, slope=0.2)
    date = 140100 + chunk.index % 28 + 1
    ids = np.array([(date * 1_000_000 + 1000 + chunk.index // 28) * 1000 + 1 + n for n in range(len(chunk))])
    lacks_N = (chunk.first + np.arange(len(chunk))) % _LACKS_CAMERA_IN == 5
    for camera in CAMERAS:
        for star, exposure in enumerate(_expose(chunk, camera, snr_N)):
            path = folder / str(date) / "com" / f"{ids[star]}{camera.number}.fits"
            if camera.number == 4 and lacks_N[star]:
                continue
            _write_file(path, camera, exposure, float(chunk.targets.velocity_N[star]))
            if camera.number == 1:
                on_file(path, 1)
    return {"sobject_id": ids, "snr": snr_N}


def _expose(chunk: Chunk, camera: Camera, snr_N: np.ndarray) -> list[_Exposure]:
    rng, targets = chunk.rng, chunk.targets
    wave_P = air_to_vacuum(camera.start + camera.step * np.arange(_PIXELS, dtype=np.float64))
    rest_NP = synthesize_window(camera.window, targets.labels_NL, chunk.a_li_N)
    normal_NP = observe_window(camera.window, rest_NP, targets.velocity_N, wave_P)
    # Counts are not flux-calibrated: a blaze, on top of the star's own colour.
    blaze_P = 1 - 0.45 * np.linspace(-1, 1, _PIXELS) ** 2
    relative_NP = 1 / (snr_N[:, None] * camera.quality * np.sqrt(np.maximum(normal_NP, 0.05) * blaze_P))
    normal_NP = normal_NP * (1 + relative_NP * rng.standard_normal(normal_NP.shape))
    colour_NP = planck(chunk.label("teff"), wave_P)
    level_N1 = (snr_N**2 * rng.uniform(0.8, 1.3, len(chunk)))[:, None]
    flux_NP = normal_NP * blaze_P * colour_NP * level_N1
    return [
        _Exposure(flux_P=flux_P, relative_P=relative_P, normal_P=normal_P)
        for flux_P, relative_P, normal_P in zip(flux_NP, relative_NP, normal_NP, strict=True)
    ]


def _write_file(path: Path, camera: Camera, exposure: _Exposure, velocity: float) -> None:
    """Flux and relative errors, twice (with and without sky), and the normalised flux on a grid at rest."""
    observed = _grid(camera.start, camera.step)
    factor = 1 - velocity / LIGHT_SPEED
    rest = _grid(camera.start * factor, camera.step * factor)
    flux_P, relative_P = exposure.flux_P.astype(np.float32), exposure.relative_P.astype(np.float32)
    with replacing(path) as temporary, fitsio.FITS(str(temporary), "rw", clobber=True) as fits:
        fits.write_image(flux_P, header=observed)
        fits.write_image(relative_P, extname="input_sigma", header=observed)
        fits.write_image(flux_P, extname="no_sky_subspectrum", header=observed)
        fits.write_image(relative_P, extname="no_sky_sigma", header=observed)
        fits.write_image(exposure.normal_P.astype(np.float64), header=rest)


def _grid(start: float, step: float) -> list[dict[str, Any]]:
    values = {"CRVAL1": start, "CDELT1": step, "CRPIX1": 1.0, "CTYPE1": "LINEAR", "CUNIT1": "Angstroms"}
    return [{"name": key, "value": value} for key, value in values.items()]


GALAH: Final = Recipe(name="galah", keys=pa.schema([("sobject_id", pa.int64())]), write=_write)
