"""The tables of a coadd and of a redrock file as NumPy records: columns, types and codes as DESI writes them.

After the DESI data model for healpix coadds (desidatamodel.readthedocs.io) and the public EDR files.
Legend: N rows, E exposures.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.simulate.instrument import STEP
from engine.simulate.labels import column
from engine.simulate.photometry import gaia_colours, nanomaggies
from engine.simulate.plan import FilePlan
from engine.simulate.scene import TILE, ArmSpectra, Scene
from engine.simulate.targets import RELEASE

Records = npt.NDArray[np.void]
FloatArray = npt.NDArray[np.float64]

NIGHT: Final = 20210605
# desitarget: DESI_TARGET bits, then MWS_TARGET bits.
SKY, STD_FAINT, STD_BRIGHT, BGS_ANY, MWS_ANY = 1 << 32, 1 << 33, 1 << 35, 1 << 60, 1 << 61
_MWS_TARGET = {"bright": 1 << 0 | 1 << 8, "dark": 1 << 0, "backup": 1 << 60}
_BGS_BRIGHT: Final = 1 << 1
# redrock zwarning: SKY, SMALL_DELTA_CHI2, NODATA.
_Z_SKY, _Z_SMALL, _Z_NODATA = 1 << 0, 1 << 2, 1 << 9
# Effective exposure time (s) and exposures of a coadd by program.
_EXPOSURES = {"bright": (180.0, 1), "dark": (1000.0, 3), "backup": (60.0, 1)}
_SCORE_KINDS: Final = (("INTEG", "FLUX"), ("MEDIAN", "FLUX"), ("MEDIAN", "SNR"))
# TSNR2 of each target class at nominal depth, by arm; after the order of magnitude of public files.
_TSNR2 = {
    "GPBDARK": (220.0, 14000.0, 4e-5),
    "ELG": (0.15, 30.0, 180.0),
    "GPBBRIGHT": (200.0, 13000.0, 4e-5),
    "LYA": (45.0, 0.04, 0.0),
    "BGS": (4100.0, 15000.0, 36000.0),
    "GPBBACKUP": (160.0, 10000.0, 3e-5),
    "QSO": (2.0, 4.7, 18.5),
    "LRG": (5.2, 130.0, 240.0),
}
# desispec fibermask: UNASSIGNED, STUCKPOSITIONER, BADFIBER.
STUCK_STATUS, DEAD_STATUS = 1 << 0 | 1 << 1, 1 << 16


def _columns(text: str) -> np.dtype[np.void]:
    """A record type from `NAME:type` words; a type may carry a shape as in 10f8."""
    return np.dtype([(word.split(":")[0], word.split(":")[1]) for word in text.split()])


_FIBERMAP = _columns(
    """TARGETID:i8 COADD_FIBERSTATUS:i4 TARGET_RA:f8 TARGET_DEC:f8 PMRA:f4 PMDEC:f4 REF_EPOCH:f4 FA_TARGET:i8
    FA_TYPE:u1 OBJTYPE:S3 SUBPRIORITY:f8 OBSCONDITIONS:i4 RELEASE:i2 BRICKNAME:S8 BRICKID:i4 BRICK_OBJID:i4
    MORPHTYPE:S4 EBV:f4 FLUX_G:f4 FLUX_R:f4 FLUX_Z:f4 FLUX_W1:f4 FLUX_W2:f4 FLUX_IVAR_G:f4 FLUX_IVAR_R:f4
    FLUX_IVAR_Z:f4 FLUX_IVAR_W1:f4 FLUX_IVAR_W2:f4 FIBERFLUX_G:f4 FIBERFLUX_R:f4 FIBERFLUX_Z:f4
    FIBERTOTFLUX_G:f4 FIBERTOTFLUX_R:f4 FIBERTOTFLUX_Z:f4 MASKBITS:i2 SERSIC:f4 SHAPE_R:f4 SHAPE_E1:f4
    SHAPE_E2:f4 REF_ID:i8 REF_CAT:S2 GAIA_PHOT_G_MEAN_MAG:f4 GAIA_PHOT_BP_MEAN_MAG:f4 GAIA_PHOT_RP_MEAN_MAG:f4
    PARALLAX:f4 PHOTSYS:S1 PRIORITY_INIT:i8 NUMOBS_INIT:i8 DESI_TARGET:i8 BGS_TARGET:i8 MWS_TARGET:i8
    SCND_TARGET:i8 PLATE_RA:f8 PLATE_DEC:f8 COADD_NUMEXP:i2 COADD_EXPTIME:f4 COADD_NUMNIGHT:i2
    COADD_NUMTILE:i2 MEAN_DELTA_X:f4 RMS_DELTA_X:f4 MEAN_DELTA_Y:f4 RMS_DELTA_Y:f4 MEAN_FIBER_RA:f8
    STD_FIBER_RA:f4 MEAN_FIBER_DEC:f8 STD_FIBER_DEC:f4 MEAN_PSF_TO_FIBER_SPECFLUX:f4"""
)
_EXP_FIBERMAP = _columns(
    """TARGETID:i8 PRIORITY:i4 SUBPRIORITY:f8 NIGHT:i4 EXPID:i4 MJD:f8 TILEID:i4 EXPTIME:f8 PETAL_LOC:i2
    DEVICE_LOC:i4 LOCATION:i8 FIBER:i4 FIBERSTATUS:i4 FIBERASSIGN_X:f4 FIBERASSIGN_Y:f4 LAMBDA_REF:f4
    PLATE_RA:f8 PLATE_DEC:f8 NUM_ITER:i8 FIBER_X:f8 FIBER_Y:f8 DELTA_X:f8 DELTA_Y:f8 FIBER_RA:f8 FIBER_DEC:f8
    PSF_TO_FIBER_SPECFLUX:f8"""
)
_REDSHIFTS = _columns(
    """TARGETID:i8 Z:f8 ZERR:f8 ZWARN:i8 CHI2:f8 COEFF:10f8 NPIXELS:i8 SPECTYPE:S6 SUBTYPE:S20 NCOEFF:i8
    DELTACHI2:f8"""
)


def fibermap(rng: np.random.Generator, plan: FilePlan, scene: Scene) -> Records:
    """The FIBERMAP [N] of a coadd; what Gaia or the imaging does not know is 0, as in the survey's files."""
    rows = np.zeros(plan.rows, dtype=_FIBERMAP)
    targets, kind_N = scene.targets, scene.kind_N
    aimed_N = kind_N != "stuck"
    rows["TARGETID"] = targets.targetid_N
    rows["COADD_FIBERSTATUS"] = np.select([scene.dead_N, ~aimed_N], [DEAD_STATUS, STUCK_STATUS], 0)
    rows["OBJTYPE"] = np.select([kind_N == "sky", aimed_N], ["SKY", "TGT"], "").astype("S3")
    rows["FA_TYPE"] = np.select([kind_N == "sky", aimed_N], [4, 1], 0)
    rows["EBV"] = np.where(aimed_N, targets.ebv_N, 0)
    rows["SUBPRIORITY"] = rng.random(plan.rows)
    rows["OBSCONDITIONS"] = {"dark": 1, "bright": 4, "backup": 516}[plan.program]
    rows["RELEASE"] = np.where(aimed_N, RELEASE, 0)
    rows["BRICKNAME"] = f"{plan.healpix % 10000:04d}p{plan.index % 1000:03d}".encode()
    rows["BRICKID"], rows["BRICK_OBJID"] = plan.healpix, targets.targetid_N & ((1 << 22) - 1)
    rows["MORPHTYPE"] = np.select([kind_N == "star", kind_N == "galaxy"], ["PSF", "REX"], "").astype("S4")
    rows["PHOTSYS"] = b"N"
    rows["PRIORITY_INIT"], rows["NUMOBS_INIT"] = np.where(aimed_N, 1500, 0), np.where(aimed_N, 1, 0)
    _fill_positions(rng, rows, plan, scene)
    _fill_photometry(rows, scene)
    _fill_gaia(rows, scene)
    _fill_target_bits(rows, plan, scene)
    return rows


def exposure_map(rng: np.random.Generator, plan: FilePlan, rows: Records) -> Records:
    """The EXP_FIBERMAP [E] behind a FIBERMAP: one row for each exposure of each target."""
    seconds, exposures = _EXPOSURES[plan.program]
    exposed = np.repeat(rows, exposures)
    table = np.zeros(len(exposed), dtype=_EXP_FIBERMAP)
    for name in ("TARGETID", "SUBPRIORITY", "PLATE_RA", "PLATE_DEC"):
        table[name] = exposed[name]
    number = np.tile(np.arange(exposures), len(rows))
    location = np.repeat(rng.permutation(len(rows)) % 5240, exposures)
    stuck = table["TARGETID"] < 0
    location = np.where(stuck, -table["TARGETID"] % 10_000, location // 524 * 1000 + location % 524)
    table["LOCATION"], table["PETAL_LOC"], table["DEVICE_LOC"] = location, location // 1000, location % 1000
    table["FIBER"] = location // 1000 * 500 + location % 500
    table["PRIORITY"] = exposed["PRIORITY_INIT"]
    table["NIGHT"], table["TILEID"], table["EXPTIME"] = NIGHT, TILE, seconds
    table["EXPID"] = 92_000 + 10 * plan.index + number
    table["MJD"] = 59_370.2 + 0.01 * number
    table["FIBERSTATUS"], table["LAMBDA_REF"], table["NUM_ITER"] = exposed["COADD_FIBERSTATUS"], 5400.0, 2
    table["FIBER_RA"], table["FIBER_DEC"] = exposed["MEAN_FIBER_RA"], exposed["MEAN_FIBER_DEC"]
    table["DELTA_X"], table["DELTA_Y"] = 0.004 * rng.standard_normal((2, len(table)))
    table["PSF_TO_FIBER_SPECFLUX"] = exposed["MEAN_PSF_TO_FIBER_SPECFLUX"]
    return table


def scores(scene: Scene, arms: Sequence[ArmSpectra]) -> Records:
    """The SCORES [N]: flux and S/N per pixel of each arm over its pixels with ivar > 0, and TSNR2."""
    names = [f"{kind}_COADD_{what}_{spectra.arm.name}" for spectra in arms for kind, what in _SCORE_KINDS]
    classes = [f"TSNR2_{name}" for name in _TSNR2]
    names += [f"{name}_{spectra.arm.name}" for spectra in arms for name in classes] + classes
    rows = np.zeros(len(scene.kind_N), dtype=[("TARGETID", "i8"), *((name, "f4") for name in names)])
    rows["TARGETID"] = scene.targets.targetid_N
    for index, spectra in enumerate(arms):
        letter = spectra.arm.name
        rows[f"INTEG_COADD_FLUX_{letter}"] = STEP * spectra.flux_NP.sum(axis=1)
        rows[f"MEDIAN_COADD_FLUX_{letter}"] = np.median(spectra.flux_NP, axis=1)
        rows[f"MEDIAN_COADD_SNR_{letter}"] = np.median(spectra.flux_NP * np.sqrt(spectra.ivar_NP), axis=1)
        for name, nominal in _TSNR2.items():
            rows[f"TSNR2_{name}_{letter}"] = nominal[index] * scene.depth_N
            rows[f"TSNR2_{name}"] += rows[f"TSNR2_{name}_{letter}"]
    return rows


def tsnr2(score_rows: Records) -> Records:
    """The TSNR2 table [N] of a redrock file: TARGETID and the TSNR2 columns of the SCORES."""
    kept = [name for name in score_rows.dtype.names or () if name == "TARGETID" or name.startswith("TSNR2")]
    table = np.zeros(len(score_rows), dtype=[(name, score_rows.dtype[name]) for name in kept])
    for name in kept:
        table[name] = score_rows[name]
    return table


def redshifts(rng: np.random.Generator, scene: Scene, snr_N: FloatArray) -> Records:
    """The REDSHIFTS [N] that redrock would find: z = v/c of stars within its error, 1 % of them wrong.

    Wrong ones carry ZWARN 4 (two solutions fit alike); sky, dead and stuck fibres their own bits.
    """
    kind_N, count = scene.kind_N, len(scene.kind_N)
    rows = np.zeros(count, dtype=_REDSHIFTS)
    star_N, galaxy_N = kind_N == "star", kind_N == "galaxy"
    error_N = 3e-6 + 4e-4 / np.maximum(snr_N, 1.0) ** 1.2
    wrong_N = star_N & (rng.random(count) < 0.01)
    rows["TARGETID"] = scene.targets.targetid_N
    rows["Z"] = scene.redshift_N + error_N * rng.standard_normal(count)
    rows["Z"][wrong_N] = rng.uniform(-0.002, 0.5, size=int(wrong_N.sum()))
    rows["Z"][scene.dark_N] = 0.0
    rows["ZERR"] = error_N
    rows["ZWARN"] = np.select(
        [scene.dark_N, kind_N == "sky", wrong_N], [_Z_NODATA, _Z_SKY | _Z_SMALL, _Z_SMALL]
    )
    rows["CHI2"] = 7900 * (1 + 0.05 * rng.random(count))
    rows["NPIXELS"] = np.where(scene.dark_N, 0, 7900)
    far_N = galaxy_N | (kind_N == "sky") | (rows["Z"] > 0.01)
    rows["SPECTYPE"] = np.where(far_N, "GALAXY", "STAR").astype("S6")
    rows["NCOEFF"] = np.where(far_N, 10, 5)
    rows["COEFF"] = rng.standard_normal((count, 10)) * (np.arange(10) < rows["NCOEFF"][:, None])
    teff_N = np.nan_to_num(column(scene.targets.labels_NL, "teff"))
    subtype = np.array([b"M", b"K", b"G", b"F"])[np.searchsorted([3900.0, 5250.0, 6000.0], teff_N)]
    rows["SUBTYPE"] = np.where(far_N, b"", subtype)
    rows["DELTACHI2"] = np.where(rows["ZWARN"] != 0, 5.0, 20.0 + 40.0 * snr_N**2) * rng.uniform(
        0.8, 1.2, count
    )
    return rows


def _fill_positions(rng: np.random.Generator, rows: Records, plan: FilePlan, scene: Scene) -> None:
    seconds, exposures = _EXPOSURES[plan.program]
    rows["TARGET_RA"], rows["TARGET_DEC"] = scene.targets.ra_N, scene.targets.dec_N
    rows["PLATE_RA"], rows["PLATE_DEC"] = scene.targets.ra_N, scene.targets.dec_N
    jitter = 2e-5 * rng.standard_normal((2, plan.rows))
    rows["MEAN_FIBER_RA"] = scene.targets.ra_N + jitter[0]
    rows["MEAN_FIBER_DEC"] = scene.targets.dec_N + jitter[1]
    rows["MEAN_DELTA_X"], rows["MEAN_DELTA_Y"] = 0.003 * rng.standard_normal((2, plan.rows))
    rows["RMS_DELTA_X"], rows["RMS_DELTA_Y"] = 0.003 + 0.002 * rng.random((2, plan.rows))
    rows["MEAN_PSF_TO_FIBER_SPECFLUX"] = 0.78
    seen_N = ~scene.dark_N
    rows["COADD_NUMEXP"], rows["COADD_EXPTIME"] = exposures * seen_N, seconds * exposures * seen_N
    rows["COADD_NUMNIGHT"], rows["COADD_NUMTILE"] = seen_N, seen_N


def _fill_photometry(rows: Records, scene: Scene) -> None:
    """Imaging fluxes from the true spectra; the WISE bands by a mean colour."""
    flux_N3 = nanomaggies(scene.flux_NQ)
    for index, band in enumerate(("G", "R", "Z")):
        rows[f"FLUX_{band}"] = flux_N3[:, index]
        rows[f"FLUX_IVAR_{band}"] = np.where(flux_N3[:, index] > 0, (400.0, 200.0, 60.0)[index], 0)
        rows[f"FIBERFLUX_{band}"] = rows[f"FIBERTOTFLUX_{band}"] = 0.78 * flux_N3[:, index]
    for band, ratio, ivar in (("W1", 0.45, 4.0), ("W2", 0.25, 1.0)):
        rows[f"FLUX_{band}"] = ratio * flux_N3[:, 2]
        rows[f"FLUX_IVAR_{band}"] = np.where(flux_N3[:, 2] > 0, ivar, 0)


def _fill_gaia(rows: Records, scene: Scene) -> None:
    targets = scene.targets
    known_N = targets.source_id_N > 0
    colour_N2 = gaia_colours(scene.flux_NQ)
    values = {
        "REF_ID": targets.source_id_N,
        "REF_EPOCH": 2015.5,
        "GAIA_PHOT_G_MEAN_MAG": targets.g_mag_N,
        "GAIA_PHOT_BP_MEAN_MAG": targets.g_mag_N + colour_N2[:, 0],
        "GAIA_PHOT_RP_MEAN_MAG": targets.g_mag_N + colour_N2[:, 1],
        "PARALLAX": targets.parallax_N,
        "PMRA": targets.motion_N2[:, 0],
        "PMDEC": targets.motion_N2[:, 1],
    }
    for name, value in values.items():
        rows[name] = np.where(known_N, value, 0)
    rows["REF_CAT"] = np.where(known_N, b"G2", b"")


def _fill_target_bits(rows: Records, plan: FilePlan, scene: Scene) -> None:
    """Stars are MWS_ANY (some also standards), galaxies BGS_ANY, skies SKY; stuck fibres have no bits."""
    star_N, galaxy_N = scene.kind_N == "star", scene.kind_N == "galaxy"
    teff_N = np.nan_to_num(column(scene.targets.labels_NL, "teff"))
    standard_N = star_N & (teff_N > 5900) & (scene.targets.g_mag_N < 18)
    standard = STD_FAINT if plan.program == "dark" else STD_BRIGHT
    bits_N = np.select([star_N, galaxy_N, scene.kind_N == "sky"], [MWS_ANY, BGS_ANY, SKY], 0)
    rows["DESI_TARGET"] = bits_N | np.where(standard_N, standard, 0)
    rows["FA_TARGET"] = rows["DESI_TARGET"]
    rows["MWS_TARGET"] = np.where(star_N, _MWS_TARGET[plan.program], 0)
    rows["BGS_TARGET"] = np.where(galaxy_N, _BGS_BRIGHT, 0)
