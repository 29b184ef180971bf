"""The DESI MLPs: fully connected networks on continuum-normalised DESI spectra, after Lee et al.

The posters of Lee, Speagle, Li and Heiger (DESI x APOGEE DR17) print four and five hidden layers, the
chi-square loss and median/IQR scaling. Widths, activation, dropout, grid and continuum are not
published: those below are ours, and nothing here reproduces their numbers.
"""

from engine.models.architecture import Architecture
from engine.models.mlp import MlpHyper, build_mlp
from engine.prepare.normalised import over_continuum
from engine.types import Grid, Input

# The union of DESI's three arms, here in the rest frame.
DESI_GRID = Grid(start=3600.0, step=0.8, pixels=7781)


def _desi_mlp(name: str, hidden: tuple[int, ...]) -> Architecture:
    return Architecture(
        name=name,
        title=f"DESI MLP, {len(hidden)} hidden layers",
        reference="after Lee, Speagle, Li & Heiger (posters on DESI x APOGEE DR17); widths are ours",
        input=Input(grid=DESI_GRID, frame="rest", medium="vacuum"),
        hyper=MlpHyper(hidden=hidden),
        normalise=over_continuum,
        build=build_mlp,
    )


DESI_MLP_4 = _desi_mlp("desi_mlp_4", (1024, 512, 256, 128))
DESI_MLP_5 = _desi_mlp("desi_mlp_5", (1024, 512, 256, 128, 64))
