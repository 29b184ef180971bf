"""card.toml: what a bundle says about itself, validated."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator

from engine.columns import describe_label
from engine.spec import Frozen, Sampling, digest

Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]


class LabelCard(Frozen):
    """One label: meaning, training range, calibration and how well it did on stars kept apart."""

    name: str
    unit: str
    description: str
    low: float
    """Least value in the training set."""
    high: float
    """Greatest value in the training set."""
    error_scale: PositiveFloat | None = None
    """Calibrated error² = (error_scale * raw)² + error_floor²."""
    error_floor: NotNegative | None = Field(default=None, validate_default=True)
    """In the label's unit."""
    test_bias: float | None = None
    """Median residual on the test stars."""
    test_scatter: NotNegative | None = None
    """1.4826 * median absolute residual on the test stars."""
    test_coverage_raw: Share | None = None
    """Share of test stars within one raw error."""
    test_coverage: Share | None = None
    """Share of test stars within one calibrated error; 0.683 is right."""

    @field_validator("unit")
    @classmethod
    def _unit_is_ours(cls, unit: str, info: ValidationInfo) -> str:
        if "name" in info.data and unit != (ours := describe_label(info.data["name"])[0]):
            raise ValueError(f"this program has {info.data['name']} in {ours!r}")
        return unit

    @field_validator("high")
    @classmethod
    def _range_is_one(cls, high: float, info: ValidationInfo) -> float:
        if "low" in info.data and high <= info.data["low"]:
            raise ValueError(f"must be above low, {info.data['low']:g}")
        return high

    @field_validator("error_floor")
    @classmethod
    def _both_or_none(cls, floor: float | None, info: ValidationInfo) -> float | None:
        if "error_scale" in info.data and (floor is None) != (info.data["error_scale"] is None):
            raise ValueError("error_scale and error_floor come together or not at all")
        return floor


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
    support_threshold: PositiveFloat | None = None
    """support_chi2 above which a spectrum is unlike the training set; None if the bundle cannot tell."""
    weights_sha256: str
    """sha256 of model.safetensors, which holds the digest of this card in turn."""

    @field_validator("labels")
    @classmethod
    def _labels_are_one_set(
        cls, labels: tuple[LabelCard, ...], info: ValidationInfo
    ) -> tuple[LabelCard, ...]:
        if repeated := _repeated([label.name for label in labels]):
            raise ValueError(f"{', '.join(repeated)} is there twice")
        calibrated = {label.error_scale is not None for label in labels}
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
