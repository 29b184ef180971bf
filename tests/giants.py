"""Giants of the Cannon model in tests/cannon_giants.py as Parquet spectra with labels for AstroNN.

The Cannon tells Teff, log g, [M/H] and [alpha/M]. For AstroNN [Fe/H] is [M/H], and each alpha element is
[M/H] + [alpha/M], as the coefficients mean it. Of the other elements they know nothing: those labels are
missing, and AstroNN is built without their heads. Tests of labels that some stars lack give a share of the
stars these too, scaled from the Sun's.

Legend: N giants, L labels of the Cannon, P pixels of the apStar grid.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.spatial import KDTree

from engine.models.astronn import ELEMENTS, AstroNNHyper, astronn_labels
from engine.models.astronn import LABELS as ASTRONN
from engine.simulate.surveys.apogee_light import WAVE
from engine.spec import SurveySpec
from tests.cannon_giants import CannonModel

FloatArray = npt.NDArray[np.float64]

ALPHAS: Final = ("o_h", "mg_h", "si_h", "s_h", "ca_h", "ti_h", "ti_2_h")
"""[alpha/M] of ASPCAP holds these (and neon)."""
TOLD_ELEMENTS: Final = tuple(name for name in ELEMENTS if f"{name}_h" in ALPHAS)
TOLD: Final = astronn_labels(AstroNNHyper(elements=TOLD_ELEMENTS))
LACKING: Final = tuple(name for name in ASTRONN if name not in TOLD)
SNR: Final = (20.0, 300.0)
# 1-sigma errors of the label table (K, dex), about the formal ones of ASPCAP for a bright giant.
ERRORS: Final[Mapping[str, float]] = {"teff": 5.0, "logg": 0.01, "fe_h": 0.005}
ERROR_OF_ELEMENTS: Final = 0.008
NEIGHBOURS, CORNERS, PER_FILE = 12, 3, 1_000
LEAST_LOGG, LEAST_M_H = 1.4, -0.7
"""The inside ends here: beyond are giants that a network is asked for and never shown."""

TABLE: Final[dict[str, Any]] = {
    "id": "id",
    "flux": "flux",
    "error": "error",
    "grid": [4.179, 6e-6],
    "spacing": "log10",
    "pixels": len(WAVE),
    "frame": "rest",
    "medium": "vacuum",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Giants:
    """Ids, Cannon labels (Teff, log g, [M/H], [alpha/M]) and S/N of the continuum per pixel."""

    id_N: npt.NDArray[np.int64]
    label_NL: FloatArray
    snr_N: FloatArray

    def __len__(self) -> int:
        return len(self.id_N)

    def truth(self) -> dict[str, FloatArray]:
        """AstroNN's labels as the Cannon tells them, and scaled from the Sun's where it cannot."""
        teff_N, logg_N, m_h_N, alpha_m_N = self.label_NL.T
        given = {name: m_h_N + alpha_m_N if name in ALPHAS else m_h_N for name in ASTRONN}
        return given | {"teff": teff_N, "logg": logg_N}


def is_inside(label_NL: FloatArray) -> npt.NDArray[np.bool_]:
    """Which giants lie in the range that is trained on."""
    return (label_NL[:, 1] >= LEAST_LOGG) & (label_NL[:, 2] >= LEAST_M_H)


def draw_giants(known_NL: FloatArray, count: int, *, first_id: int, seed: int) -> Giants:
    """Giants between the Cannon's own, never beyond them, thinned where those crowd; S/N log-uniform.

    Each lies within a triangle of one training giant and two of its neighbours, and so in the convex hull.
    """
    random = np.random.default_rng(seed)
    scaled_NL = known_NL / known_NL.std(axis=0)
    away_NK, near_NK = (np.asarray(x) for x in KDTree(scaled_NL).query(scaled_NL, k=NEIGHBOURS + 1))
    # Where giants are far from each other each of them stands for more of the range.
    weight_N = away_NK[:, -1] / away_NK[:, -1].sum()
    base = random.choice(len(known_NL), count, p=weight_N)
    others = random.integers(1, NEIGHBOURS + 1, (count, CORNERS - 1))
    corners = np.column_stack([base, near_NK[base[:, None], others]])
    share_NC = random.dirichlet(np.ones(CORNERS), count)
    return Giants(
        id_N=first_id + np.arange(count, dtype=np.int64),
        label_NL=np.einsum("nc,ncl->nl", share_NC, known_NL[corners]),
        snr_N=np.exp(random.uniform(np.log(SNR[0]), np.log(SNR[1]), count)),
    )


def write_spectra(root: Path, giants: Giants, model: CannonModel, *, seed: int) -> SurveySpec:
    """Write a file for each thousand giants, on a sloping continuum; what reads them comes back.

    Pixels that the Cannon lacks lie on the continuum, and are missing: their error is infinite.
    """
    random, continuum_P = np.random.default_rng(seed), 150 * (16_000 / WAVE) ** 2
    root.mkdir(parents=True)
    for start in range(0, len(giants), PER_FILE):
        rows = slice(start, start + PER_FILE)
        true_NP = model(giants.label_NL[rows])
        gap_NP = np.isnan(true_NP)
        error_NP = continuum_P / giants.snr_N[rows, None]
        seen_NP = np.where(gap_NP, 1.0, true_NP) * continuum_P
        seen_NP += np.where(gap_NP, 0.0, error_NP) * random.standard_normal(seen_NP.shape)
        columns = {
            "id": pa.array(giants.id_N[rows]),
            "flux": _arrays(seen_NP),
            "error": _arrays(np.where(gap_NP, np.inf, error_NP)),
        }
        pq.write_table(pa.table(columns), root / f"giants-{start:06d}.parquet", compression="none")
    return SurveySpec.model_validate({"name": "table", "root": root, "table": TABLE, "select": {"by": "all"}})


def _arrays(value_NP: FloatArray) -> pa.Array:
    flat = pa.array(value_NP.astype(np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, value_NP.shape[1])


def write_labels(path: Path, giants: Giants, *, lacking_share: float, seed: int) -> Path:
    """The label table: truth with errors. What the Cannon lacks is -9999 but for a share of the stars."""
    random, columns = np.random.default_rng(seed), {"id": pa.array(giants.id_N)}
    has_N = random.random(len(giants)) < lacking_share
    for name, true_N in giants.truth().items():
        error = ERRORS.get(name, ERROR_OF_ELEMENTS)
        known_N = np.ones_like(has_N) if name in TOLD else has_N
        value_N = true_N + error * random.standard_normal(len(giants))
        columns[name] = pa.array(np.where(known_N, value_N, -9999.0).astype(np.float32))
        columns[f"e_{name}"] = pa.array(np.where(known_N, error, -9999.0).astype(np.float32))
    pq.write_table(pa.table(columns), path)
    return path


def training(
    survey: SurveySpec, labels: Path, out: Path, *, hyper: Mapping[str, Any], draws: int, **settings: Any
) -> dict[str, Any]:
    """A training of AstroNN with its robust loss and its own step, as a spec in plain words."""
    names = astronn_labels(AstroNNHyper.model_validate(hyper))
    return {
        "survey": survey,
        "labels": {"path": labels, "key": ["id"], "names": names},
        "split": {"validation": 0.06, "calibration": 0.1, "test": 0.06},
        "model": {"name": "astronn", "hyper": dict(hyper)},
        "training": {
            "loss": "robust",
            "optimiser": "adam",
            "eps": 1e-7,
            "learning_rate": 5e-4,
            "noise": 0.0,
            "batch": 64,
            **settings,
        },
        "sampling": {"draws": draws},
        "bundle": {"out": out, "name": "giants"},
    }
