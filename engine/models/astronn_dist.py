"""AstroNNDist: distances from APOGEE spectra (Leung & Bovy 2019b, MNRAS 489, 2079); Astra's form of DR19.

AstroNN's trunk with two outputs: the pseudo-luminosity F = parallax * 10^(0.2 Ks0) (mas; Ks0 corrected for
extinction), kept above 0 by a softplus, and its log-variance. 1,455,064 parameters with hidden = (192, 64).
Distances follow from F and photometry, star by star: see `engine/distance.py`.
"""

from collections.abc import Sequence

from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional

from engine.draw import Columns, Drawn, Masks, Network, Output, Outputs, Thinned
from engine.models.astronn_trunk import Trunk
from engine.spec import Frozen


class AstroNNDistHyper(Frozen):
    """Hyper-parameters of AstroNNDist's network."""

    hidden: tuple[PositiveInt, PositiveInt] = (192, 64)
    """Widths of the trunk's two dense layers."""
    dropout: float = Field(default=0.3, gt=0, lt=1)
    """Probability that a unit is dropped, in training and in every draw."""


class AstroNNDist(Network):
    """One output, above 0, with its log-variance."""

    def __init__(self, hyper: AstroNNDistHyper, pixels: int) -> None:
        super().__init__()
        self.trunk = Trunk(pixels, hyper.hidden, 2, hyper.dropout)

    def forward(self, x_NI: Tensor) -> Output:
        """Outputs of N stars; in training mode with random dropout."""
        return _output(self.trunk(x_NI))

    def hidden(self, x_NI: Tensor) -> Tensor:
        """The trunk's last hidden layer, shape (N, H)."""
        return self.trunk.hidden(x_NI)

    def once(self, x_NI: Tensor) -> Columns:
        """The trunk's first convolution, as columns."""
        return (self.trunk.once(x_NI),)

    def thinned(self, masks: Masks) -> Thinned:
        """One draw."""
        trunk = self.trunk.thinned(masks)
        return lambda columns: _output(trunk(columns[0]).T)

    def grouped(self, masks_K: Sequence[Masks]) -> Drawn:
        """All draws of the trunk together."""
        trunk = self.trunk.grouped(masks_K)
        return lambda columns: Outputs(*_output(trunk(columns[0]).mT))


def _output(trunk_N2: Tensor) -> Output:
    return Output(functional.softplus(trunk_N2[..., :1]), trunk_N2[..., 1:])


def build_astronn_dist(hyper: Frozen, inputs: int, outputs: int) -> AstroNNDist:
    """The network; ValueError unless it is asked for its one output."""
    assert isinstance(hyper, AstroNNDistHyper)
    if outputs != 1:
        raise ValueError(f"AstroNNDist gives the pseudo-luminosity alone, not {outputs} labels")
    return AstroNNDist(hyper, inputs)
