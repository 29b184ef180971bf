"""The figures of the report, in its order: one line of the table for each kind."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

from matplotlib import style
from matplotlib.figure import Figure

from engine.models.card import Card
from engine.train.report import Gradients, Validation
from jobs.training_report.comparison import draw_comparison
from jobs.training_report.honesty import draw_honesty
from jobs.training_report.kiel import draw_kiel
from jobs.training_report.learning import draw_learning
from jobs.training_report.predicted import draw_predicted
from jobs.training_report.residuals import draw_residuals
from jobs.training_report.saliency import gradient_figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of figure: how its files are called, what is above and below it, who draws it."""

    name: str
    title: str
    caption: str
    draw: Callable[[Validation, Card], Iterator[Figure]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One figure as PNG."""

    file: str
    kind: Kind
    png: bytes


SHADED = (
    "Shades count stars per cell (points where stars are few); line: running median, dashes: 16 and 84 %. "
    "“Beyond” are stars outside the axes."
)
KINDS = (
    Kind(
        name="losses",
        title="Training",
        caption="Losses and scatter by epoch; dotted: the epoch whose weights were kept. The loss on "
        "training stars is taken with dropout, noise and penalty: it may lie above that on validation stars.",
        draw=draw_learning,
    ),
    Kind(
        name="kiel",
        title="Kiel diagram",
        caption="The stars of this report as they were labelled and as the network has them. The dashed box "
        "is the range of the training stars.",
        draw=draw_kiel,
    ),
    Kind(
        name="predicted",
        title="Predicted against true labels",
        caption=f"Above with the line of equality, below the residuals. {SHADED}",
        draw=draw_predicted,
    ),
    Kind(
        name="comparison",
        title="Residuals of the reference pipeline and of the network",
        caption="Residuals from the true labels: the survey's own pipeline above, this network below, of the "
        f"same stars on the same axes. {SHADED} The network was taught labels of the kind that it is held "
        "against here, the pipeline was not: an offset of the pipeline may be one of scales.",
        draw=draw_comparison,
    ),
    Kind(
        name="residuals",
        title="Residuals along S/N, temperature and metallicity",
        caption=f"Predicted minus true labels (Δ). {SHADED} Along a true label a network that cannot see it "
        "well errs towards the middle of its training set, hence a slope downwards.",
        draw=draw_residuals,
    ),
    Kind(
        name="honesty",
        title="Honesty of errors",
        caption="Above: the share of stars whose truth lies within a central interval of given probability. "
        "Calibrated errors are joined with the labels' own, raw errors stand alone. Below: the probability "
        "integral transform, flat at one for honest errors, U-shaped where they are too small. Grey: where "
        "95 % of well calibrated sets of as many stars lie, point by point.",
        draw=draw_honesty,
    ),
)


def kind_of(found: Gradients) -> Kind:
    """The figures of gradients, which are drawn on request alone."""

    def draw(_: Validation, card: Card) -> Iterator[Figure]:
        labels = card.labels[: card.outputs]
        return gradient_figures(found, [label.name for label in labels], [label.unit for label in labels])

    return Kind(
        name="gradients",
        title="Where in the spectrum the labels are found",
        caption="Above the mean of the training spectra, below how each label follows the flux of each pixel "
        "there: its derivative, in the label's unit per continuum, without dropout and as a mean over the "
        "members. Dotted: strong lines.",
        draw=draw,
    )


def pictures(validation: Validation, card: Card, kinds: Sequence[Kind] = KINDS) -> Iterator[Picture]:
    """All figures that can be drawn, whatever a matplotlibrc asks for."""
    with style.context("default"):
        for kind in kinds:
            for number, figure in enumerate(kind.draw(validation, card), start=1):
                png = BytesIO()
                figure.savefig(png, format="png", metadata={"Software": "abundant"})
                yield Picture(file=f"{kind.name}-{number}.png", kind=kind, png=png.getvalue())
