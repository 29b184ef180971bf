"""Every column of a batch of spectra and of a catalog, once.

The same records make Arrow schemas, Parquet metadata, VOTable fields, SQL and the documentation. What only
[[auxiliary]] tables give is in auxiliary/inputs.py.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from engine.types import Arm, Column, Label, Limits, Waves

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
)

# Distances from the training set, NULL where the bundle does not give one (support/).
SCORES = (
    Column(
        name="support_chi2",
        type=pa.float32(),
        ucd="stat.fit.chi2",
        description="Distance of the spectrum from those of the training set: mean of (residual / error)²",
    ),
    Column(
        name="support_mahalanobis",
        type=pa.float32(),
        ucd="stat.value",
        description="Mahalanobis distance of the labels from those of the training set",
    ),
    Column(
        name="support_neighbours",
        type=pa.float32(),
        ucd="stat.value",
        description="Mean distance to the labels of the 10 nearest training stars, in inter-quartile ranges",
    ),
    Column(
        name="support_hidden",
        type=pa.float32(),
        ucd="stat.value",
        description="Mahalanobis distance of the last hidden layer from that of the training set",
    ),
    Column(
        name="wiggle",
        type=pa.float32(),
        ucd="stat.fit.chi2",
        description="Mean of (residual / error)² in bins of 16 pixels: about 1 without slow ripples",
    ),
    Column(
        name="largest_gap",
        type=pa.float32(),
        unit="pixel",
        ucd="instr.pixel",
        description="Longest run of missing pixels on the model's grid",
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
        description="The input file, by relative path and content",
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
    "c_1_h": ("dex", "phys.abund.C", "[C/H] from lines of C I"),
    "ti_2_h": ("dex", "phys.abund.Ti", "[Ti/H] from lines of Ti II"),
    "fakemag": ("mas", "phys.luminosity", "Pseudo-luminosity, parallax * 10**(0.2 Ks), free of extinction"),
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
    return (
        Column(
            name=label.name,
            type=pa.float32(),
            unit=label.unit,
            ucd=label.ucd,
            description=f"{label.description}; NULL = no result",
        ),
        *_error_columns(label),
        Column(
            name=f"flag_{label.name}",
            type=pa.int16(),
            ucd="meta.code.qual",
            description=f"1: {label.name} below, 2: above the training range; 4: no result",
        ),
    )


def _error_columns(label: Label) -> Iterator[Column]:
    name, calibrated = label.name, label.calibration is not None
    total = "calibrated total" if calibrated else "sqrt(model² + noise²), uncalibrated"
    descriptions = {
        f"e_{name}": f"1-sigma error of {name}: {total}",
        f"e_{name}_model": f"Spread of {name} over the draws",
        f"e_{name}_noise": f"Noise that the network predicts for {name}; NULL if it predicts none",
    }
    for error, description in descriptions.items():
        yield Column(
            name=error,
            type=pa.float32(),
            unit=label.unit,
            ucd=f"stat.error;{label.ucd}",
            description=description,
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
    keys: Iterable[Column],
    labels: Iterable[Label],
    *,
    limits: Iterable[Limits] = (),
    joined: Iterable[Column] = (),
    published: Iterable[Column] = (),
) -> tuple[Column, ...]:
    """The columns of a catalog, in their order on disk.

    `joined` are those of auxiliary tables, `published` those that a network's authors publish beside ours.
    """
    per_label = (column for label in labels for column in label_columns(label))
    per_extra = (_limit_column(limit) for limit in limits)
    prepared = (*PREPARED, *SCORES, *per_extra)
    return (INDEX, *keys, *POSITION, *per_label, *prepared, *SCALARS, *joined, *published, *OUTCOME)


def _limit_column(limit: Limits) -> Column:
    return Column(
        name=f"flag_{limit.name}",
        type=pa.int16(),
        ucd="meta.code.qual",
        description=f"1: below {limit.low:g}, 2: above {limit.high:g}, the training range; 4: missing",
    )


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
