"""card.toml: what a bundle says about itself, validated."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator, model_validator

from engine.columns import describe_label
from engine.spec import Frozen, Sampling, digest

Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]


class CalibrationCard(Frozen):
    """Calibrated error² = (scale * raw)² + floor², at ascending values of S/N; between them as log(S/N)."""

    snr: tuple[PositiveFloat, ...] = Field(min_length=1)
    """S/N of the knots; beyond the first and the last nothing changes."""
    scale: tuple[PositiveFloat, ...]
    """One for each."""
    floor: tuple[NotNegative, ...]
    """One for each, in the label's unit."""

    @model_validator(mode="after")
    def _knots_ascend(self) -> Self:
        if not len(self.snr) == len(self.scale) == len(self.floor):
            raise ValueError("snr, scale and floor must be equally many")
        if any(low >= high for low, high in pairwise(self.snr)):
            raise ValueError("snr must ascend")
        return self


class LabelCard(Frozen):
    """One label: meaning, training range, calibration and how well it did on stars kept apart."""

    name: str
    unit: str
    description: str
    low: float | None = None
    """Least value in the training set; None if it is not known."""
    high: float | None = Field(default=None, validate_default=True)
    """Greatest value in the training set."""
    calibration: CalibrationCard | None = None
    """How raw errors become honest; None for an uncalibrated bundle."""
    test_bias: float | None = None
    """Median residual on the test stars."""
    test_scatter: NotNegative | None = None
    """1.4826 * median absolute residual on the test stars."""
    test_coverage_raw: Share | None = None
    """Share of test stars within one raw error."""
    test_coverage: Share | None = None
    """Share of test stars within one calibrated error; 0.683 is right."""
    test_coverage_95: Share | None = None
    """Share of test stars within 1.96 calibrated errors; 0.95 is right."""
    test_pit: tuple[Share, ...] | None = None
    """Shares of test stars by tenths of the probability integral transform; 0.1 each is right."""

    @field_validator("unit")
    @classmethod
    def _unit_is_ours(cls, unit: str, info: ValidationInfo) -> str:
        if "name" in info.data and unit != (ours := describe_label(info.data["name"])[0]):
            raise ValueError(f"this program has {info.data['name']} in {ours!r}")
        return unit

    @field_validator("high")
    @classmethod
    def _range_is_one(cls, high: float | None, info: ValidationInfo) -> float | None:
        if "low" not in info.data:
            return high
        low = info.data["low"]
        if (low is None) != (high is None):
            raise ValueError("low and high come together or not at all")
        if low is not None and high is not None and high <= low:
            raise ValueError(f"must be above low, {low:g}")
        return high


class LimitsCard(Frozen):
    """The training range of a number that the network takes beside the spectrum."""

    name: str
    low: float
    """Least value in the training set."""
    high: float
    """Greatest value in the training set, the same where all stars had one."""

    @field_validator("high")
    @classmethod
    def _range_is_one(cls, high: float, info: ValidationInfo) -> float:
        if "low" in info.data and high < info.data["low"]:
            raise ValueError(f"must not be below low, {info.data['low']:g}")
        return high


class ThresholdCard(Frozen):
    """What few held-out stars exceed, at ascending values of S/N; between them as log(S/N)."""

    snr: tuple[PositiveFloat, ...] = Field(min_length=1)
    """S/N of the knots; beyond the first and the last nothing changes."""
    limit: tuple[PositiveFloat, ...]
    """One for each."""

    @model_validator(mode="after")
    def _knots_ascend(self) -> Self:
        if len(self.snr) != len(self.limit):
            raise ValueError("snr and limit must be equally many")
        if any(low >= high for low, high in pairwise(self.snr)):
            raise ValueError("snr must ascend")
        return self


class DerivedCard(Frozen):
    """A label formed per draw as the difference of two others."""

    name: str
    minuend: str
    subtrahend: str


class Card(Frozen):
    """The model card. Labels come in the order of the network's outputs, then the derived ones."""

    format: Literal[1] = 1
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
    labels: tuple[LabelCard, ...] = Field(min_length=1)
    derived: tuple[DerivedCard, ...] = ()
    limits: tuple[LimitsCard, ...] = ()
    """Training ranges of what the network takes beside the spectrum."""
    thresholds: dict[str, PositiveFloat | ThresholdCard] = Field(default_factory=dict)
    """By the name of a support score, one for any S/N or several: above it a star is unlike the training set.
    Without one nothing is told."""
    weights_sha256: str
    """sha256 of model.safetensors, which holds the digest of this card in turn."""

    @field_validator("labels")
    @classmethod
    def _labels_are_one_set(
        cls, labels: tuple[LabelCard, ...], info: ValidationInfo
    ) -> tuple[LabelCard, ...]:
        if repeated := _repeated([label.name for label in labels]):
            raise ValueError(f"{', '.join(repeated)} is there twice")
        calibrated = {label.calibration is not None for label in labels}
        if "sampling" in info.data and calibrated != {info.data["sampling"] is not None}:
            raise ValueError("all are calibrated where sampling is given, and none where it is not")
        return labels

    @field_validator("derived")
    @classmethod
    def _derived_come_last(
        cls, derived: tuple[DerivedCard, ...], info: ValidationInfo
    ) -> tuple[DerivedCard, ...]:
        names = [label.name for label in info.data.get("labels", ())]
        if not names:
            return derived
        outputs, last = names[: len(names) - len(derived)], names[len(names) - len(derived) :]
        if [item.name for item in derived] != last or not outputs:
            raise ValueError(f"must be the last of the labels, {', '.join(names)}, in their order")
        for item in derived:
            if not {item.minuend, item.subtrahend} <= set(outputs) or item.minuend == item.subtrahend:
                raise ValueError(f"{item.name} must be the difference of two of {', '.join(outputs)}")
        return derived

    @property
    def outputs(self) -> int:
        """Labels that the network itself gives."""
        return len(self.labels) - len(self.derived)

    def digest(self) -> str:
        """sha256 over everything but the hash of the weights, which hold it."""
        return digest(self.model_dump(mode="json", exclude={"weights_sha256"}))


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})
