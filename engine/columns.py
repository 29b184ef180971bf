"""Every column that this program reads into or writes out of a table, once.

The same records make Arrow schemas, Parquet metadata, VOTable fields, SQL and the documentation.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from astropy import units as u
from astropy.coordinates import Latitude, Longitude
from cdshealpix.nested import lonlat_to_healpix

from engine.types import Arm, Bools, Column, Doubles, Label, Waves

POSITION = (
    Column(
        name="ra",
        type=pa.float64(),
        unit="deg",
        ucd="pos.eq.ra;meta.main",
        description="Right ascension, ICRS",
    ),
    Column(
        name="dec", type=pa.float64(), unit="deg", ucd="pos.eq.dec;meta.main", description="Declination, ICRS"
    ),
)

SCALARS = (
    Column(
        name="gaia_source_id",
        type=pa.int64(),
        ucd="meta.id",
        description="Gaia source_id; NULL without a match",
    ),
    Column(
        name="phot_g_mean_mag", type=pa.float32(), unit="mag", ucd="phot.mag;em.opt", description="Gaia G"
    ),
    Column(
        name="phot_bp_mean_mag", type=pa.float32(), unit="mag", ucd="phot.mag;em.opt.B", description="Gaia BP"
    ),
    Column(
        name="phot_rp_mean_mag", type=pa.float32(), unit="mag", ucd="phot.mag;em.opt.R", description="Gaia RP"
    ),
    Column(
        name="parallax",
        type=pa.float32(),
        unit="mas",
        ucd="pos.parallax",
        description="Gaia parallax, no zero-point correction",
    ),
    Column(
        name="ebv",
        type=pa.float32(),
        unit="mag",
        ucd="phot.color.excess",
        description="E(B-V) of the whole column of dust",
    ),
    Column(
        name="object_type",
        type=pa.string(),
        ucd="meta.code.class",
        description="What the fibre pointed at: TGT, SKY, … ('' = unassigned)",
    ),
    Column(
        name="spectype",
        type=pa.string(),
        ucd="src.class",
        description="Class that the survey's redshift fitter found; NULL if unknown",
    ),
    Column(
        name="instrument_status",
        type=pa.int32(),
        ucd="meta.code.qual",
        description="The survey's own status bits of the fibre or exposure",
    ),
    Column(
        name="rv",
        type=pa.float32(),
        unit="km.s**-1",
        ucd="spect.dopplerVeloc",
        description="Radial velocity removed before inference",
    ),
    Column(
        name="rv_err",
        type=pa.float32(),
        unit="km.s**-1",
        ucd="stat.error;spect.dopplerVeloc",
        description="Its 1-sigma error",
    ),
    Column(
        name="rv_source",
        type=pa.string(),
        ucd="meta.ref",
        description="Where rv comes from: rvtab, redrock, table, survey (its file), header; NULL if none",
    ),
    Column(
        name="rv_warn",
        type=pa.int32(),
        ucd="meta.code.qual",
        description="Warning bits of the velocity's own pipeline, 0 = none",
    ),
    Column(
        name="rv_check",
        type=pa.float32(),
        unit="km.s**-1",
        ucd="spect.dopplerVeloc",
        description="A second opinion on rv, where there is one",
    ),
    Column(
        name="position_source",
        type=pa.string(),
        ucd="meta.ref",
        description="Where ra and dec come from: survey, table, source_id (its HEALPix centre); NULL if none",
    ),
    Column(
        name="read_problem",
        type=pa.string(),
        ucd="meta.note",
        description="Why the row's own file, one of a group, could not be read; NULL if it could",
    ),
    Column(
        name="auxiliary_missing",
        type=pa.int32(),
        ucd="meta.code.qual",
        description="How many values that [[auxiliary]] was to join are missing; NULL if none was asked for",
    ),
    Column(
        name="row_in_shard", type=pa.int32(), ucd="meta.record", description="Row of the input file, from 0"
    ),
)

# Inputs that [[auxiliary]] tables can give beside POSITION and SCALARS, under these names.
AUXILIARY = (
    Column(
        name="tmass_j",
        type=pa.float32(),
        unit="mag",
        ucd="phot.mag;em.IR.J",
        description="2MASS J",
    ),
    Column(
        name="tmass_h",
        type=pa.float32(),
        unit="mag",
        ucd="phot.mag;em.IR.H",
        description="2MASS H",
    ),
    Column(
        name="tmass_ks",
        type=pa.float32(),
        unit="mag",
        ucd="phot.mag;em.IR.K",
        description="2MASS Ks",
    ),
    Column(
        name="wise_w1",
        type=pa.float32(),
        unit="mag",
        ucd="phot.mag;em.IR.3-4um",
        description="WISE W1",
    ),
    Column(
        name="wise_w2",
        type=pa.float32(),
        unit="mag",
        ucd="phot.mag;em.IR.4-8um",
        description="WISE W2",
    ),
    Column(
        name="e_phot_g_mean_mag",
        type=pa.float32(),
        unit="mag",
        ucd="stat.error;phot.mag;em.opt",
        description="1-sigma error of Gaia G",
    ),
    Column(
        name="e_phot_bp_mean_mag",
        type=pa.float32(),
        unit="mag",
        ucd="stat.error;phot.mag;em.opt.B",
        description="1-sigma error of Gaia BP",
    ),
    Column(
        name="e_phot_rp_mean_mag",
        type=pa.float32(),
        unit="mag",
        ucd="stat.error;phot.mag;em.opt.R",
        description="1-sigma error of Gaia RP",
    ),
    Column(
        name="e_tmass_j",
        type=pa.float32(),
        unit="mag",
        ucd="stat.error;phot.mag;em.IR.J",
        description="1-sigma error of 2MASS J",
    ),
    Column(
        name="e_tmass_h",
        type=pa.float32(),
        unit="mag",
        ucd="stat.error;phot.mag;em.IR.H",
        description="1-sigma error of 2MASS H",
    ),
    Column(
        name="e_tmass_ks",
        type=pa.float32(),
        unit="mag",
        ucd="stat.error;phot.mag;em.IR.K",
        description="1-sigma error of 2MASS Ks",
    ),
    Column(
        name="e_wise_w1",
        type=pa.float32(),
        unit="mag",
        ucd="stat.error;phot.mag;em.IR.3-4um",
        description="1-sigma error of WISE W1",
    ),
    Column(
        name="e_wise_w2",
        type=pa.float32(),
        unit="mag",
        ucd="stat.error;phot.mag;em.IR.4-8um",
        description="1-sigma error of WISE W2",
    ),
    Column(
        name="a_v",
        type=pa.float32(),
        unit="mag",
        ucd="phys.absorption;em.opt.V",
        description="Extinction A_V towards the star",
    ),
    Column(
        name="parallax_error",
        type=pa.float32(),
        unit="mas",
        ucd="stat.error;pos.parallax",
        description="1-sigma error of parallax",
    ),
    Column(
        name="nu_eff_used_in_astrometry",
        type=pa.float32(),
        unit="um**-1",
        ucd="em.wavenumber",
        description="Gaia effective wavenumber; only sources with five astrometric parameters have one",
    ),
    Column(
        name="pseudocolour",
        type=pa.float32(),
        unit="um**-1",
        ucd="em.wavenumber",
        description="Gaia astrometric pseudocolour; only sources with six astrometric parameters have one",
    ),
    Column(
        name="ecl_lat", type=pa.float64(), unit="deg", ucd="pos.ecliptic.lat", description="Ecliptic latitude"
    ),
    Column(
        name="astrometric_params_solved",
        type=pa.int32(),
        ucd="meta.number",
        description="Which astrometric parameters Gaia solved for: 3 = two, 31 = five, 95 = six of them",
    ),
)

PARALLAX_ZERO_POINT = Column(
    name="parallax_zero_point",
    type=pa.float32(),
    unit="mas",
    ucd="pos.parallax;arith.zp",
    description="To subtract from parallax (Lindegren et al. 2021); NULL where the correction is not valid",
)

INDEX = Column(
    name="_healpix_29",
    type=pa.int64(),
    ucd="pos.healpix",
    description="HEALPix nested index of order 29; 0 without a position",
)

PREPARED = (
    Column(
        name="snr",
        type=pa.float32(),
        ucd="stat.snr",
        description="Median over good pixels of flux * sqrt(ivar), per pixel as observed (coadded)",
    ),
    Column(
        name="good_fraction",
        type=pa.float32(),
        ucd="stat.value",
        description="Share of the model's pixels that carry good flux",
    ),
    Column(
        name="support_chi2",
        type=pa.float32(),
        ucd="stat.fit.chi2",
        description="Distance of the spectrum from those of the training set: mean of (residual / error)²",
    ),
)

OUTCOME = (
    Column(
        name="flags", type=pa.int32(), ucd="meta.code.qual", description="Row flags; bits in `abundant flags`"
    ),
    Column(
        name="flag_warn", type=pa.bool_(), ucd="meta.code.qual", description="A flag of severity warn is set"
    ),
    Column(
        name="flag_bad",
        type=pa.bool_(),
        ucd="meta.code.qual",
        description="A flag of severity bad is set: do not use",
    ),
    Column(
        name="shard_id",
        type=pa.string(),
        ucd="meta.id;meta.file",
        description="The input file, by relative path and size",
    ),
    Column(name="task_id", type=pa.string(), ucd="meta.id", description="The task that made this row"),
)

KNOWN_LABELS = {
    "teff": ("K", "phys.temperature.effective", "Effective temperature"),
    "logg": ("log(cm.s**-2)", "phys.gravity", "Surface gravity"),
    "m_h": ("dex", "phys.abund.Z", "Metallicity [M/H]"),
    "alpha_m": ("dex", "phys.abund", "[alpha/M]"),
    "alpha_fe": ("dex", "phys.abund", "[alpha/Fe]"),
    "a_li": ("dex", "phys.abund", "Lithium abundance A(Li)"),
    "dist": ("pc", "pos.distance", "Distance"),
    "parallax_nn": ("mas", "pos.parallax", "Parallax from the spectrum"),
}


def describe_label(name: str) -> tuple[str, str, str]:
    """Unit, UCD and description of a label by its name; [X/H] and [X/Fe] follow from the pattern.

    ValueError for a name that is neither known nor of the form <element>_h or <element>_fe.
    """
    if name in KNOWN_LABELS:
        return KNOWN_LABELS[name]
    element, _, base = name.rpartition("_")
    if element and base in ("h", "fe"):
        return "dex", f"phys.abund.{element.capitalize()}", f"[{element.capitalize()}/{base.capitalize()}]"
    raise ValueError(
        f"label {name!r} is unknown; known: {', '.join(KNOWN_LABELS)}, <element>_h, <element>_fe"
    )


def label_columns(label: Label) -> tuple[Column, ...]:
    """The five columns of one label: x, e_x, e_x_model, e_x_noise, flag_x."""
    name, unit, error = label.name, label.unit, f"stat.error;{label.ucd}"
    what = label.description
    calibrated = (
        "calibrated total" if label.error_scale is not None else "sqrt(model² + noise²), uncalibrated"
    )
    return (
        Column(
            name=name, type=pa.float32(), unit=unit, ucd=label.ucd, description=f"{what}; NULL = no result"
        ),
        Column(
            name=f"e_{name}",
            type=pa.float32(),
            unit=unit,
            ucd=error,
            description=f"1-sigma error of {name}: {calibrated}",
        ),
        Column(
            name=f"e_{name}_model",
            type=pa.float32(),
            unit=unit,
            ucd=error,
            description=f"Spread of {name} over the draws",
        ),
        Column(
            name=f"e_{name}_noise",
            type=pa.float32(),
            unit=unit,
            ucd=error,
            description=f"Noise that the network predicts for {name}; NULL if it predicts none",
        ),
        Column(
            name=f"flag_{name}",
            type=pa.int16(),
            ucd="meta.code.qual",
            description=f"1: {name} below, 2: above the training range; 4: no result",
        ),
    )


def spectra_columns(keys: Iterable[Column], arms: Iterable[Arm]) -> tuple[Column, ...]:
    """The columns of a batch of spectra: keys, position, scalars, then flux, ivar, mask of each arm."""
    arrays = (column for arm in arms for column in _arm_columns(arm))
    return (*keys, *POSITION, *SCALARS, *arrays)


def _arm_columns(arm: Arm) -> tuple[Column, ...]:
    tensor = lambda kind: pa.fixed_shape_tensor(kind, [arm.grid.pixels])  # noqa: E731
    wave = Column(
        name=f"wave_{arm.name}",
        type=tensor(pa.float64()),
        unit="Angstrom",
        ucd="em.wl",
        description=f"Wavelengths, arm {arm.name}, ascending; NaN where there is no pixel",
    )
    return (
        *((wave,) if isinstance(arm.grid, Waves) else ()),
        Column(
            name=f"flux_{arm.name}",
            type=tensor(pa.float32()),
            ucd="phot.flux.density;em.wl",
            description=f"Flux, arm {arm.name}",
        ),
        Column(
            name=f"ivar_{arm.name}",
            type=tensor(pa.float32()),
            ucd="stat.weight",
            description=f"Inverse variance, arm {arm.name}",
        ),
        Column(
            name=f"mask_{arm.name}",
            type=tensor(pa.int32()),
            ucd="meta.code.qual",
            description=f"Pixel mask, arm {arm.name}; 0 = good",
        ),
    )


def catalog_columns(
    keys: Iterable[Column], labels: Iterable[Label], joined: Iterable[Column] = ()
) -> tuple[Column, ...]:
    """The columns of a catalog, in their order on disk; `joined` are those of auxiliary tables."""
    per_label = (column for label in labels for column in label_columns(label))
    return (INDEX, *keys, *POSITION, *per_label, *PREPARED, *SCALARS, *joined, *OUTCOME)


def bytes_of(columns: Iterable[Column]) -> int:
    """Bytes of one row's arrays."""
    types = (column.type for column in columns if isinstance(column.type, pa.FixedShapeTensorType))
    return sum(kind.value_type.bit_width // 8 * int(np.prod(kind.shape)) for kind in types)


def schema(columns: Iterable[Column]) -> pa.Schema:
    """The Arrow schema of some columns; units, UCDs and descriptions travel as field metadata."""
    fields = []
    for column in columns:
        about = {"unit": column.unit, "ucd": column.ucd, "description": column.description}
        fields.append(pa.field(column.name, column.type, metadata={k: v for k, v in about.items() if v}))
    return pa.schema(fields)


def known_positions(ra_N: Doubles, dec_N: Doubles) -> Bools:
    """Which rows have a position on the sky: finite, and no placeholder such as dec = -9999."""
    return np.isfinite(ra_N) & (np.abs(ra_N) <= 360) & np.isfinite(dec_N) & (np.abs(dec_N) <= 90)


def healpix29(ra_N: Doubles, dec_N: Doubles) -> npt.NDArray[np.int64]:
    """HEALPix nested order-29 indices of ICRS positions in degrees; 0 where there is no position."""
    known_N = known_positions(ra_N, dec_N)
    index_N = np.zeros(len(ra_N), np.int64)
    lon, lat = Longitude(ra_N[known_N], u.deg), Latitude(dec_N[known_N], u.deg)
    index_N[known_N] = np.asarray(lonlat_to_healpix(lon, lat, depth=29), dtype=np.int64)
    return index_N
