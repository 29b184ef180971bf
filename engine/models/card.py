"""card.toml: what a bundle says about itself, validated."""

from typing import Any

from pydantic import PositiveInt

from engine.spec import Frozen, Sampling


class LabelCard(Frozen):
    """One label: meaning, training range, calibration and how well it did on stars kept apart."""

    name: str
    unit: str
    description: str
    low: float
    """Least value in the training set."""
    high: float
    """Greatest value in the training set."""
    error_scale: float | None = None
    """Calibrated error² = (error_scale * raw)² + error_floor²."""
    error_floor: float | None = None
    """In the label's unit."""
    test_bias: float | None = None
    """Median residual on the test stars."""
    test_scatter: float | None = None
    """1.4826 * median absolute residual on the test stars."""
    test_coverage_raw: float | None = None
    """Share of test stars within one raw error."""
    test_coverage: float | None = None
    """Share of test stars within one calibrated error; 0.683 is right."""


class DerivedCard(Frozen):
    """A label formed per draw as the difference of two others."""

    name: str
    minuend: str
    subtrahend: str


class Card(Frozen):
    """The model card. Labels come in the order of the network's outputs, then the derived ones."""

    format: int = 1
    name: str
    architecture: str
    """A key of the MODELS table."""
    hyper: dict[str, Any]
    """The architecture's hyper-parameters, in full."""
    members: PositiveInt = 1
    """Trained networks in the ensemble."""
    licence: str
    lineage: dict[str, Any]
    """Training set: survey, labels, cuts, counts of stars, seeds, losses."""
    sampling: Sampling | None = None
    """The sampling with which the errors were calibrated; None if they were not."""
    labels: tuple[LabelCard, ...]
    derived: tuple[DerivedCard, ...] = ()
    support_threshold: float | None = None
    """support_chi2 above which a spectrum is unlike the training set; None if the bundle cannot tell."""
    weights_sha256: str
    """sha256 of model.safetensors."""
