"""The columns that [[auxiliary]] tables can give beside POSITION and SCALARS, and what follows from them."""

import pyarrow as pa

from engine.types import Column

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
        name="e_ebv",
        type=pa.float32(),
        unit="mag",
        ucd="stat.error;phot.color.excess",
        description="1-sigma error of E(B-V)",
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
