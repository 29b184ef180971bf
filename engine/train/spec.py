"""What a training says, as frozen records; survey, tables and sampling are as in engine/spec.py."""

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import ConfigDict, Field, PositiveFloat, field_validator, model_validator

from engine.spec import Auxiliary, Frozen, Names, Place, Sampling, Seed, SurveySpec

Identifier: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class SkyMatch(Frozen):
    """Join by position: the nearest label within a radius. Columns are those of the label table."""

    radius_arcsec: PositiveFloat = Field(le=60)
    """How far apart a spectrum and its label may lie."""
    ra: str = "ra"
    """Right ascension, degrees, ICRS."""
    dec: str = "dec"
    """Declination, degrees, ICRS."""
    pm_ra: str | None = None
    """Proper motion in right ascension times cos(dec), mas/yr, as Gaia has it. Missing ones count as zero."""
    pm_dec: str | None = None
    """Proper motion in declination, mas/yr."""
    epoch: float | None = Field(default=None, ge=1900, le=2100)
    """Julian year of the table's positions, such as 2016.0 for Gaia DR3."""
    survey_epoch: float | None = Field(default=None, ge=1900, le=2100)
    """Julian year of the spectra's positions, which the table's are moved to."""

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        motion = (self.pm_ra, self.pm_dec, self.epoch, self.survey_epoch)
        if None in motion and any(part is not None for part in motion):
            raise ValueError("pm_ra, pm_dec, epoch and survey_epoch count together: give all four, or none")
        return self


class LabelTable(Frozen):
    """The labels to learn."""

    path: Place
    """A Parquet, FITS (.fits.gz too) or CSV table, a folder of Parquet files, or a HATS catalog."""
    key: Names | None = None
    """Columns that join the table to the spectra, by the survey's names; without them, `sky` joins it."""
    sky: SkyMatch | None = None
    """Join by position instead of by key."""
    names: Names
    """Labels in the order of the network's outputs; errors are read from e_<name> where present."""
    columns: dict[Identifier, str] = Field(default_factory=dict)
    """Our name = its column, or an expression of them: teff = "TEFF", mg_h = "MG_FE + FE_H"."""
    flagged: dict[str, str] = Field(default_factory=dict)
    """Label = a column or expression such as "FLAG & 0b101"; the label is missing where it is not zero."""
    reference: dict[str, str] = Field(default_factory=dict)
    """Label = what another pipeline, such as the survey's own, says of it: teff = "TEFF_RVS".

    Columns of the label table or expressions of them, as in `columns`. Nothing is learnt from them: the
    report draws that pipeline's residuals above the network's, of the test stars that have both.
    """
    reference_name: str = Field(default="reference pipeline", min_length=1)
    """What the report calls that pipeline, such as "Gaia GSP-Spec"."""
    missing: tuple[float | str, ...] = ()
    """What else stands for "no value": numbers, or text of CSV. NULL, NaN and below -9998 always do."""
    best: str | None = None
    """Of rows that repeat a key, take the one with the largest value of this column; None: refused."""
    error_floor: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Added in quadrature to the label's error, in the label's unit. Labels without errors need one."""

    @model_validator(mode="after")
    def _of_labels(self) -> Self:
        for key in ("error_floor", "flagged", "reference"):
            if strange := sorted(getattr(self, key).keys() - set(self.names)):
                raise ValueError(
                    f"{key} of {', '.join(strange)}: not among names; add it there or leave it out"
                )
        if self.reference_name != type(self).model_fields["reference_name"].default and not self.reference:
            raise ValueError("reference_name counts only with reference; give both, or none")
        return self

    @model_validator(mode="after")
    def _one_way_to_join(self) -> Self:
        if (self.key is None) == (self.sky is None):
            raise ValueError("give either key, columns that join, or [labels.sky], and not both")
        if ours := sorted({"snr", "good_fraction"} & self.columns.keys()):
            raise ValueError(
                f"columns: {', '.join(ours)} is what we measure of a spectrum; choose another name"
            )
        if self.sky is not None and self.best is not None:
            raise ValueError("best counts only with key; by position the nearest row is taken")
        return self

    def content(self) -> dict[str, Any]:
        """What decides the rows of a training set, as plain values: no places, names and floors.

        Sets from before there were references keep their digest.
        """
        without = {"path", "error_floor", "reference_name", *(() if self.reference else ("reference",))}
        return self.model_dump(mode="json", exclude=without)


class Cuts(Frozen):
    """Which stars are good enough to learn from. Any other name is a cut of your own: snr = "snr > 50"."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    min_snr: float = 10.0
    """Least median S/N per pixel."""
    min_good_fraction: float = 0.5
    """Least share of good pixels."""
    keep: Literal["all", "best_snr"] | None = None
    """Which spectra of a star: all of them (also None), or the one with the best S/N."""
    best_snr: str | None = None
    """Which S/N: ours (snr, median per pixel), or a column of the label table."""

    @model_validator(mode="before")
    @classmethod
    def _own_cuts_are_text(cls, plain: Any) -> Any:
        for name, value in plain.items() if isinstance(plain, dict) else ():
            if name not in cls.model_fields and not isinstance(value, str):
                raise ValueError(
                    f'{name} = {value}: no cut of your own, which is text such as "snr > 50", and none of '
                    f"ours: {', '.join(cls.model_fields)}"
                )
        return plain

    @model_validator(mode="after")
    def _snr_is_named(self) -> Self:
        if (self.keep == "best_snr") != (self.best_snr is not None):
            raise ValueError(
                'keep = "best_snr" and best_snr = NAME go together: "snr" is ours, per pixel; else a column'
            )
        return self

    @property
    def named(self) -> dict[str, str]:
        """The cuts of one's own, in the order of the spec."""
        return dict(self.__pydantic_extra__ or {})


class Split(Frozen):
    """How stars are shared out, by a hash of their id."""

    validation: float = Field(default=0.1, gt=0, lt=0.5)
    """Share that chooses the epoch."""
    calibration: float = Field(default=0.15, gt=0, lt=0.5)
    """Share that calibrates the errors."""
    test: float = Field(default=0.15, gt=0, lt=0.5)
    """Share that is only ever reported on."""
    seed: Seed = 1
    """Salt of the hash."""

    @model_validator(mode="after")
    def _some_are_left(self) -> Self:
        if (share := self.validation + self.calibration + self.test) >= 1:
            raise ValueError(
                f"validation, calibration and test take {share:.2f} of all stars; leave some to learn"
            )
        return self


class NetworkSpec(Frozen):
    """Which network to train."""

    name: str
    """A key of the MODELS table: see `abundant models`."""
    hyper: dict[str, Any] = Field(default_factory=dict)
    """Hyper-parameters that differ from the model's defaults."""


class Plateau(Frozen):
    """How schedule = "reduce_on_plateau" shrinks the step, as in Keras."""

    factor: float = Field(default=0.5, gt=0, lt=1)
    """The step is multiplied by it."""
    patience: int = Field(default=10, ge=1)
    """Epochs without a better validation loss before it is."""
    min_delta: float = Field(default=1e-4, ge=0)
    """How much better counts as better."""
    min_learning_rate: float = Field(default=0.0, ge=0)
    """The step never falls below."""


class EarlyStopping(Frozen):
    """When a training ends before its last epoch, as in Keras."""

    patience: int = Field(ge=1)
    """Epochs without a better validation loss before it does."""
    min_delta: float = Field(default=0.0, ge=0)
    """How much better counts as better, here and for keep = "best"."""


class Training(Frozen):
    """How to train. What is left out is as it says here, whatever network it is.

    What the authors of a network did is written out in the specs of jobs/train/ that bear its name.
    """

    loss: Literal["chi2", "mse", "robust"] | None = None
    """chi2: squared residual over label error (Lee et al.); mse; robust: AstroNN's. None: the model's own."""
    epochs: int = Field(default=200, ge=1)
    """Passes over the training stars."""
    batch: int = Field(default=256, ge=2)
    """Stars per step."""
    optimiser: Literal["adamw", "adam"] = "adamw"
    """adamw: Adam with weight_decay; adam: without."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Adam's step at the beginning."""
    eps: float = Field(default=1e-8, gt=0)
    """Adam's guard against division by zero; in Keras it is 1e-7."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay (AdamW)."""
    schedule: Literal["cosine", "constant", "reduce_on_plateau"] = "cosine"
    """cosine: the step decays to zero along a cosine; reduce_on_plateau: as [training.plateau] says."""
    plateau: Plateau = Plateau()
    """For schedule = "reduce_on_plateau"."""
    early_stopping: EarlyStopping | None = None
    """None: all epochs are done."""
    keep: Literal["best", "last"] = "best"
    """Whose weights are kept: those of the best epoch on validation stars, or of the last."""
    noise: float = Field(default=1.0, ge=0)
    """Augmentation: extra noise drawn from each pixel's own ivar, times a factor uniform in [0, noise]."""
    mask_pixels: float = Field(default=0.0, ge=0, lt=1)
    """Augmentation: the share of pixels that are lost, others each time."""
    velocity_error: float = Field(default=0.0, ge=0)
    """Augmentation: standard deviation in km/s of a wrong radial velocity, up to about a pixel."""
    precision: Literal["float32", "mixed"] = "float32"
    """mixed: matrix products in bfloat16 where training runs on a GPU, which changes the weights."""
    members: int = Field(default=1, ge=1, le=1000)
    """Networks of an ensemble: the same but for the seed, which counts up."""
    keep_share: float = Field(default=1.0, gt=0, le=1)
    """Of an ensemble, those are kept whose validation loss is below this quantile of all members'."""
    seed: Seed = 1
    """Initial weights, batch order, dropout, augmentation."""

    @model_validator(mode="after")
    def _every_key_counts(self) -> Self:
        needs = {
            "weight_decay": ('optimiser = "adamw"', self.optimiser == "adamw"),
            "plateau": ('schedule = "reduce_on_plateau"', self.schedule == "reduce_on_plateau"),
            "keep_share": ("members > 1", self.members > 1),
        }
        for key, (need, counts) in needs.items():
            if not counts and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} counts only with {need}; change one of them")
        return self


class Range(Frozen):
    """What a key may be in a search: one of these."""

    uniform: tuple[float, float] | None = None
    """Between two numbers."""
    loguniform: tuple[PositiveFloat, PositiveFloat] | None = None
    """Between two numbers, their logarithm uniform."""
    choice: Annotated[tuple[Any, ...], Field(min_length=1)] | None = None
    """One of these values."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        given = [item for item in (self.uniform, self.loguniform, self.choice) if item is not None]
        if len(given) != 1:
            raise ValueError("give one of uniform = [low, high], loguniform = [low, high], choice = [...]")
        if self.choice is None and not given[0][0] < given[0][1]:
            raise ValueError("[low, high] must ascend")
        return self


# What a search may vary: losses of different trials must be the same function of the same labels.
FIXED = ("loss", "seed", "members", "keep_share", "epochs", "keep", "early_stopping")


class Search(Frozen):
    """Trials before the training: the one of least validation loss is then trained as the spec says.

    Bad trials are stopped early (ASHA, Li et al. 2018). Needs a profile with runtime = "ray_data".
    """

    trials: int = Field(ge=2, le=10_000)
    """How many points of the ranges are tried, drawn at random."""
    grace: int = Field(default=5, ge=1)
    """Epochs that each trial may do."""
    reduction: int = Field(default=3, ge=2)
    """Of so many trials one goes on, each time that epochs have grown by the same factor."""
    seed: Seed = 1
    """Which points are drawn."""
    ranges: dict[str, Range] = Field(min_length=1)
    """By key: "training.learning_rate", "model.hyper.dropout", …"""

    @field_validator("ranges")
    @classmethod
    def _keys_are_searchable(cls, ranges: dict[str, Range]) -> dict[str, Range]:
        fixed = [f"training.{name}" for name in FIXED]
        for key in ranges:
            if not key.startswith(("training.", "model.hyper.")) or key in fixed:
                raise ValueError(
                    f"{key} cannot be searched; keys of [training] but {', '.join(FIXED)}, and of [model] "
                    'hyper can: "training.learning_rate", "model.hyper.dropout"'
                )
        return ranges


class BundleOut(Frozen):
    """Where the result goes."""

    out: Place
    """A new bundle directory."""
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Name on the card."""
    licence: str = "unspecified"
    """Licence of the weights, for the card."""


class TrainingSetOut(Frozen):
    """Where the prepared stars are kept, for this training and those that ask for the same."""

    out: Place | None = None
    """A folder; None: beside the bundle, as OUT-stars."""


class TrainSpec(Frozen):
    """A training: spectra and labels in, a calibrated bundle out."""

    survey: SurveySpec
    auxiliary: tuple[Auxiliary, ...] = ()
    """Tables joined by id."""
    labels: LabelTable
    cuts: Cuts = Cuts()
    split: Split = Split()
    model: NetworkSpec
    training: Training = Training()
    search: Search | None = None
    """None: the network is trained as [model] and [training] say."""
    sampling: Sampling | None = None
    """How errors are calibrated, and runs draw; None: as the model's authors do."""
    bundle: BundleOut
    training_set: TrainingSetOut = TrainingSetOut()
