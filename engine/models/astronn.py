"""AstroNN's Bayesian network with censored abundances (Leung & Bovy 2019, MNRAS 483, 3255).

`ApogeeBCNNCensored` of the public code (astroNN models/apogee_models.py; in PyTorch in SDSS Astra,
pipelines/astronn/network.py). A convolutional trunk sees the whole spectrum and gives Teff, logg and [Fe/H];
each other element sees its own pixels alone ("censored"), two numbers of the trunk, and those three labels.
Every output comes with a log-variance. Dropout stays on in inference.

Three versions differ in the trunk's width: (192, 64) of the paper and the DR16 catalog, 3,499,122 parameters;
(256, 96) of DR17, 3,992,530; (192, 96) of DR19 (Astra), 3,505,554.

The public code names a penalty on weights, 5e-9, that its own training step does not add: nor do we.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from pydantic import Field, PositiveInt, field_validator
from torch import Tensor, nn
from torch.nn import functional

from engine.draw import Columns, Drawn, Masks, Network, Output, Outputs, Thinned
from engine.draw.grouped import group
from engine.draw.thin import ThinStack, thin
from engine.errors import BundleError
from engine.models.astronn_pixels import PIXELS, element_pixels
from engine.models.astronn_trunk import Trunk, as_published
from engine.spec import Frozen

WIDE = ("c", "n")
WIDE_UNITS, NARROW_UNITS = (256, 64), (32, 16)
# The trunk gives these, as many log-variances, and two numbers more for the elements.
FROM_TRUNK = ("teff", "logg", "fe")
EXTRA = 2
# The weights of each of these stay within this norm in training (Keras' MaxNorm, over the inputs of a unit).
MAX_NORM = 0.5
# The published order of outputs. Iron stands among the elements although it is the trunk's.
LIGHT = ("c", "c_1", "n", "o", "na", "mg", "al", "si", "p", "s", "k", "ca")
HEAVY = ("ti", "ti_2", "v", "cr", "mn", "fe", "co", "ni")
OUTPUTS = ("teff", "logg", *LIGHT, *HEAVY)
ELEMENTS = tuple(name for name in OUTPUTS if name not in FROM_TRUNK)


class AstroNNHyper(Frozen):
    """Hyper-parameters of AstroNN's network."""

    hidden: tuple[PositiveInt, PositiveInt] = (192, 96)
    """Widths of the trunk's two dense layers."""
    dropout: float = Field(default=0.3, gt=0, lt=1)
    """Probability that a unit is dropped, in training and in every draw."""
    elements: tuple[str, ...] = Field(default=ELEMENTS, min_length=1)
    """Elements beside iron, in the published order. One that no star has a label of is left out."""

    @field_validator("elements")
    @classmethod
    def _elements_are_published(cls, elements: tuple[str, ...]) -> tuple[str, ...]:
        if elements != tuple(name for name in ELEMENTS if name in elements):
            raise ValueError(f"must be of {', '.join(ELEMENTS)}, in this order")
        return elements

    @property
    def outputs(self) -> tuple[str, ...]:
        """Those of OUTPUTS that the network gives."""
        return tuple(name for name in OUTPUTS if name in (*FROM_TRUNK, *self.elements))


def astronn_labels(hyper: Frozen) -> tuple[str, ...]:
    """What the network gives, in the order of its outputs."""
    assert isinstance(hyper, AstroNNHyper)
    return tuple(name if name in ("teff", "logg") else f"{name}_h" for name in hyper.outputs)


LABELS = astronn_labels(AstroNNHyper())


class AstroNN(Network):
    """Outputs in the order of `hyper.outputs`, with log-variances."""

    def __init__(self, hyper: AstroNNHyper) -> None:
        super().__init__()
        outputs = 2 * len(FROM_TRUNK) + EXTRA
        self.trunk = Trunk(PIXELS, hyper.hidden, outputs, hyper.dropout)
        seen = {name: sees_P for name, sees_P in element_pixels().items() if name in hyper.elements}
        self.heads = nn.ModuleDict(
            {name: Head(name, int(sees_P.sum()), hyper.dropout) for name, sees_P in seen.items()}
        )
        self.order = [(*FROM_TRUNK, *seen).index(name) for name in hyper.outputs]
        # Numbers like weights on disk: 1 where an element sees a pixel.
        self.register_buffer("sees_EP", torch.from_numpy(np.stack(list(seen.values()))).float())
        self.register_load_state_dict_post_hook(_check_pixels)

    def forward(self, x_NI: Tensor) -> Output:
        """Outputs of N stars; in training mode with random dropout."""
        trunk_NT = self.trunk(x_NI)
        # Elements must not teach Teff, logg and [Fe/H]: no gradient goes that way.
        shared_NS = torch.cat([trunk_NT[:, 6:], trunk_NT[:, :3].detach()], dim=1)
        heads = [head(seen_NP, shared_NS) for head, seen_NP in self._seeing(x_NI)]
        return self._output(trunk_NT.T, heads)

    def hidden(self, x_NI: Tensor) -> Tensor:
        """The trunk's last hidden layer, shape (N, H)."""
        return self.trunk.hidden(x_NI)

    def once(self, x_NI: Tensor) -> Columns:
        """The trunk's first convolution and the first layer of every head, as columns."""
        first = [functional.relu(head.dense1(seen_NP)).T.contiguous() for head, seen_NP in self._seeing(x_NI)]
        return (self.trunk.once(x_NI), *first)

    def thinned(self, masks: Masks) -> Thinned:
        """One draw: the trunk's masks come first, then those of the heads in their order."""
        trunk = self.trunk.thinned(masks)
        heads = [head.thinned(masks) for head in self._heads()]

        def draw(columns: Columns) -> Output:
            trunk_TN = trunk(columns[0])
            shared_SN = torch.cat([trunk_TN[6:], trunk_TN[:3]])
            parts = zip(heads, columns[1:], strict=True)
            return self._output(trunk_TN, [head(column, shared_SN) for head, column in parts])

        return draw

    def grouped(self, masks_K: Sequence[Masks]) -> Drawn:
        """The draws of the trunk together, and those of each head."""
        trunk = self.trunk.grouped(masks_K)
        heads = [head.grouped(masks_K) for head in self._heads()]

        def draw(columns: Columns) -> Outputs:
            trunk_KTN = trunk(columns[0])
            shared_KSN = torch.cat([trunk_KTN[:, 6:], trunk_KTN[:, :3]], dim=1)
            parts = zip(heads, columns[1:], strict=True)
            output = self._output(trunk_KTN, [head(column, shared_KSN) for head, column in parts])
            return Outputs(*output)

        return draw

    def constrain(self) -> None:
        """The trunk's two numbers for the elements stay small."""
        with torch.no_grad():
            self.trunk.head.weight[-EXTRA:].renorm_(2, 0, MAX_NORM)

    def _output(self, trunk_TN: Tensor, heads: list[Tensor]) -> Output:
        """Outputs in their order; those of K draws, (K, N, L), of what K draws gave, (K, T, N)."""
        value = [*trunk_TN[..., :3, :].unbind(-2), *(head[..., 0, :] for head in heads)]
        log_variance = [*trunk_TN[..., 3:6, :].unbind(-2), *(head[..., 1, :] for head in heads)]
        value_NL, log_variance_NL = (
            torch.stack([rows[place] for place in self.order], dim=-1) for rows in (value, log_variance)
        )
        return Output(value_NL, log_variance_NL)

    def _heads(self) -> "list[Head]":
        return list(self.heads.values())  # type: ignore[arg-type]

    def _seeing(self, x_NI: Tensor) -> "Iterator[tuple[Head, Tensor]]":
        sees_EP: Tensor = self.sees_EP  # type: ignore[assignment]
        for head, sees_P in zip(self._heads(), sees_EP, strict=True):
            # The number of pixels is known: a card need not be asked for it.
            seen = torch.nonzero_static(sees_P, size=head.dense1.in_features).flatten()
            yield head, x_NI.index_select(1, seen)


def _check_pixels(network: AstroNN, _keys: object) -> None:
    """BundleError where weights that were loaded show an element more or fewer pixels than its head takes."""
    for (name, head), sees_P in zip(network.heads.items(), network.sees_EP, strict=True):  # type: ignore[arg-type]
        pixels, takes = int(sees_P.count_nonzero()), head.dense1.in_features
        if pixels != takes:
            raise BundleError(f"sees_EP shows {name} {pixels} pixels, but its head takes {takes}")


class Head(nn.Module):
    """One element: two dense layers on its own pixels; value and log-variance of those and of the trunk's."""

    def __init__(self, element: str, pixels: int, dropout: float) -> None:
        super().__init__()
        first, second = WIDE_UNITS if element in WIDE else NARROW_UNITS
        self.dense1 = nn.Linear(pixels, first)
        self.dense2 = nn.Linear(first, second)
        self.out = nn.Linear(second + EXTRA + len(FROM_TRUNK), 2)
        self.drop = nn.Dropout(dropout)
        as_published(self)

    def forward(self, seen_NP: Tensor, shared_NS: Tensor) -> Tensor:
        """Value and log-variance as rows, shape (2, N)."""
        own = self.drop(functional.relu(self.dense2(self.drop(functional.relu(self.dense1(seen_NP))))))
        # Stars as columns: with two outputs as columns a product rounds by where in the batch a star stands.
        return torch.addmm(self.out.bias[:, None], self.out.weight, torch.cat([own, shared_NS], dim=1).T)

    def thinned(self, masks: Masks) -> Callable[[Tensor, Tensor], Tensor]:
        """One draw: what the first layer gave and what the trunk shares -> value and log-variance, (2, N)."""
        stack, weight = self._own(masks), self.out.weight[:, self.dense2.out_features :]
        return lambda first, shared_SN: stack(first) + weight @ shared_SN

    def grouped(self, masks_K: Sequence[Masks]) -> Callable[[Tensor, Tensor], Tensor]:
        """All draws: the first layer's and what the trunk shares in each, (K, S, N) -> (K, 2, N)."""
        stacks = group([self._own(masks) for masks in masks_K])
        weight = self.out.weight[:, self.dense2.out_features :]
        return lambda first, shared_KSN: stacks(first[None]) + weight @ shared_KSN

    def _own(self, masks: Masks) -> ThinStack:
        """One draw of what is made of the element's own pixels."""
        units = self.dense2.out_features
        own = nn.Linear(units, 2, device="meta")
        own.weight, own.bias = nn.Parameter(self.out.weight[:, :units], requires_grad=False), self.out.bias
        return thin([self.drop, self.dense2, nn.ReLU(), self.drop, own], masks)


def build_astronn(hyper: Frozen, inputs: int, outputs: int) -> AstroNN:
    """The network; ValueError unless it is asked for its own number of outputs."""
    assert isinstance(hyper, AstroNNHyper)
    assert inputs == PIXELS
    if outputs != len(hyper.outputs):
        raise ValueError(f"AstroNN gives {len(hyper.outputs)} labels, not {outputs}")
    return AstroNN(hyper)
