"""What a run and its profile say, as frozen records: what to compute, and where. Unknown keys are refused.

The keys are settled: later specs add keys and rename none. What a training says is in train/spec.py.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)


def _not_blank(path: object) -> object:
    if isinstance(path, str) and not path.strip():
        raise ValueError('an empty path; name the place (the current folder is ".")')
    return path


def _absolute(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"{path}: there is no such home folder; write the path in full") from None


def _unique(names: tuple[str, ...]) -> tuple[str, ...]:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{', '.join(twice)}: named more than once; name each once")
    return names


def _text(root: object) -> object:
    return str(root) if isinstance(root, Path) else _not_blank(root)


def _root(root: str) -> str:
    """An address such as s3://bucket/prefix as it is, a folder as an absolute path."""
    return root if "://" in root else str(_absolute(Path(root)))


def cluster_address(address: str) -> str:
    """The address of a cluster's Jobs API without a slash at its end; ValueError where it holds a secret."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or "@" in parts.netloc:
        raise ValueError(
            "give the address of Ray's dashboard, http://host:8265 or https://…, without password or token, "
            "which comes from RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN"
        )
    return address.rstrip("/")


# Absolute from the start: workers may stand in another folder than the driver.
Place: TypeAlias = Annotated[Path, BeforeValidator(_not_blank), AfterValidator(_absolute)]
Root: TypeAlias = Annotated[str, BeforeValidator(_text), AfterValidator(_root)]
# What a file must hold: the plan fills it in, so that nothing else is read in the run.
Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Names: TypeAlias = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_unique)]
# What a side catalog can hold, a star's rows of it being wide; always in one order.
SideColumn: TypeAlias = Literal["covariance", "quantiles"]
SideColumns: TypeAlias = Annotated[
    tuple[SideColumn, ...], AfterValidator(_unique), AfterValidator(lambda names: tuple(sorted(names)))
]
# What torch, numpy and a signed 64-bit column all take.
Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**63)]


class Frozen(BaseModel):
    """A record that is validated once, never changes, and refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Select(Frozen):
    """Which rows of a file are stars to label."""

    by: Literal["targets", "spectype", "ids", "all"] = "targets"
    """targets: the survey's star target bits; spectype: Redrock's class; ids: a list; all: every row."""
    spectype: Annotated[
        tuple[Literal["STAR", "GALAXY", "QSO"], ...], Field(min_length=1), AfterValidator(_unique)
    ] = ("STAR",)
    """Redrock classes to keep when by = "spectype"."""
    path: Place | None = None
    """Parquet, CSV or FITS table with the id column (DESI: targetid) when by = "ids"."""
    sha256: Sha256 | None = None
    """What the table must be; None: what it is when the run is planned."""

    @model_validator(mode="after")
    def _every_key_counts(self) -> Self:
        for key, by in (("path", "ids"), ("spectype", "spectype")):
            if getattr(self, key) != type(self).model_fields[key].default and self.by != by:
                raise ValueError(
                    f'{key} counts only with by = "{by}", and by = "{self.by}"; change one of them'
                )
        return self


class Velocity(Frozen):
    """Where radial velocities come from."""

    source: Literal["rvtab", "redrock", "table", "none"] = Field(default="redrock", alias="from")
    """rvtab: an mwsall FITS file; redrock: the file beside each coadd; table: Parquet; none: no shift."""
    path: Place | None = None
    """The file, for rvtab and table. A table has the survey's id, rv [km/s] and optionally rv_err."""
    sha256: Sha256 | None = None
    """What the file must be; None: what it is when the run is planned."""

    @model_validator(mode="after")
    def _every_key_counts(self) -> Self:
        if self.path is not None and self.source not in ("rvtab", "table"):
            raise ValueError(
                f'path counts only with from = "rvtab" or "table", and from = "{self.source}"; '
                "change one of them"
            )
        return self


class Storage(Frozen):
    """How a root in an object store is reached. Credentials come from the environment, never from here."""

    anonymous: bool = False
    """Unsigned requests, for public buckets."""
    endpoint: str | None = None
    """Address of a server that speaks S3; None: Amazon's own."""
    region: str | None = None
    """The bucket's region, where it must be named."""


class TableColumns(Frozen):
    """survey.name = "table": which columns of Parquet or Arrow files hold what.

    Errors are `ivar` or `error`, one of them; wavelengths `grid`, or `wave` with `span`.
    """

    id: str = "id"
    """Becomes the key `id` of the catalog; without NULLs."""
    id_type: Literal["integer", "text"] = "integer"
    """What the key is in the catalog. Integers can be kept as text, but not the other way round."""
    flux: str = "flux"
    """A list or tensor column: one array per row, all of one length. NULL: no good pixel."""
    ivar: str | None = None
    """Inverse variance, like flux."""
    error: str | None = None
    """1-sigma error, like flux, when there is no ivar."""
    mask: str | None = None
    """Integers, like flux; 0 is good."""
    wave: str | None = None
    """Ascending wavelengths in Angstrom, like flux; None: `grid` says."""
    grid: tuple[float, float] | None = None
    """First wavelength and step of every row: in Angstrom, or in log10 of Angstrom."""
    spacing: Literal["linear", "log10"] = "linear"
    """What `grid` counts in."""
    pixels: int = Field(ge=2, le=2**20)
    """Pixels of a row."""
    ra: str = "ra"
    """Right ascension, degrees."""
    dec: str = "dec"
    """Declination, degrees."""
    frame: Literal["observed", "rest"]
    """Whether the spectra were shifted to rest."""
    medium: Literal["vacuum", "air"]
    """What the wavelengths are measured in."""
    span: tuple[float, float] | None = None
    """First and last wavelength in Angstrom, where rows bring their own."""

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.ivar is None) == (self.error is None):
            raise ValueError("give either ivar or error, the name of the column that holds it")
        if (self.wave is None) == (self.grid is None):
            raise ValueError("give either wave, a column, or grid = [first, step]")
        if (self.wave is None) != (self.span is None):
            raise ValueError("give span = [first, last] with wave, and only with it")
        if self.span is not None and not 0 < self.span[0] < self.span[1]:
            raise ValueError("span = [first, last] must ascend, in Angstrom")
        if self.grid is not None and not (self.grid[0] > 0 and self.grid[1] > 0):
            raise ValueError("grid = [first, step] must be positive")
        if self.spacing == "log10" and (self.grid is None or self.grid[0] + self.pixels * self.grid[1] > 9):
            raise ValueError("spacing = log10 needs a grid in log10 of Angstrom, such as [4.179, 6e-6]")
        return self


class SurveySpec(Frozen):
    """The spectra."""

    name: str
    """A key of the SURVEYS table: see `abundant surveys`."""
    root: Root
    """The folder, or s3://bucket/prefix, that holds the files. Not part of the hash."""
    storage: Storage = Storage()
    """How an object store is reached. Not part of the hash."""
    spectra: Literal["coadds", "visits"] = "coadds"
    """Where files hold both (APOGEE): one spectrum per star, or one per visit."""
    table: TableColumns | None = None
    """Only for survey.name = "table"."""
    select: Select = Select()
    """Which rows."""
    rv: Velocity = Velocity.model_validate({})
    """Which radial velocities."""


class ModelSpec(Frozen):
    """The network."""

    bundle: Place
    """A bundle directory: model.safetensors and card.toml."""
    sha256: Sha256 | None = None
    """sha256 that card.toml must have; None: what it has when the run is planned."""


class Sampling(Frozen):
    """How the posterior is drawn. The K thinned networks are a pure function of (seed, k, layer)."""

    draws: int = Field(default=100, ge=0, le=10_000)
    """K, the number of dropout draws per network; 0: none, each member of an ensemble as it was trained."""
    seed: Seed = 1
    """Key of the counter-based generator."""
    precision: Literal["float32"] = "float32"
    """Arithmetic of the network."""
    noise: Literal["exact", "astronn"] = "exact"
    """Predicted variance: exact: mean of exp(s) over draws; astronn: exp(mean of s), as AstroNN has it."""


class Tasks(Frozen):
    """How the work is cut. Part of the spec, since the shapes of the arithmetic follow it."""

    rows: int | None = Field(default=None, ge=1, le=65_536)
    """The most input rows in one task; None: 512, or fewer of very long spectra."""


class CatalogSpec(Frozen):
    """The product."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Name of the catalog; a folder name."""
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Version of the catalog; a folder name."""
    root: Root
    """The folder, or s3://bucket/prefix, under which name/version is published. Not part of the hash."""
    storage: Storage = Storage()
    """How an object store is reached. Not part of the hash."""
    side: SideColumns = ()
    """What a second catalog, name-side/version, has of the same rows: "covariance", "quantiles"."""
    rounded: bool = False
    """Labels in steps of 1/1024 of their error, errors and scores to 10 bits: a quarter less to store."""
    follows: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """A published version of this catalog under this root: what has not changed since is taken from it."""

    @model_validator(mode="after")
    def _follows_another(self) -> Self:
        if self.follows == self.version:
            raise ValueError(
                f'follows = "{self.follows}" is this very version; name the published one, or leave it out'
            )
        return self


class Tolerance(Frozen):
    """How much may go wrong before a commit is refused."""

    failed_tasks: int = Field(default=0, ge=0)
    """Tasks that may fail. Their rows are published as NO_RESULT where their ids can be read."""


class Auxiliary(Frozen):
    """A table joined to the spectra by an id, for what the survey's own files do not hold."""

    path: Place
    """A Parquet, FITS or CSV file, or a folder of Parquet files. Not part of the hash; its content is."""
    key: str
    """Its id column: integers or text, unique."""
    match: str = "gaia_source_id"
    """The column of the spectra that the key is compared with."""
    columns: dict[str, str] = Field(min_length=1)
    """Our name = its name: scalars by ours (engine/auxiliary/asked.py), arrays by any name of yours."""
    missing: tuple[float, ...] = ()
    """Numbers that stand for "no value" in these columns, such as -9999 or 99.99. NaN and NULL always do."""


class RunSpec(Frozen):
    """A full inference run: which spectra, which network, which catalog."""

    survey: SurveySpec
    auxiliary: tuple[Auxiliary, ...] = ()
    model: ModelSpec
    sampling: Sampling | None = None
    """How the network is drawn; None: as its bundle was calibrated."""
    tasks: Tasks = Tasks()
    catalog: CatalogSpec
    tolerance: Tolerance = Tolerance()

    def digest(self) -> str:
        """sha256 over everything in it that can change a number."""
        return digest(self.decisive())

    def decisive(self) -> dict[str, Any]:
        """Everything in it that can change a number, as plain values; places and the tolerance are left out.

        What stands in the files that `select`, `rv` and `auxiliary` name is the plan's to hash.
        """
        # Runs from before there were side catalogs, or versions that follow others, keep their names.
        unsaid = {key for key in ("side", "follows") if not getattr(self.catalog, key)}
        places = {
            "survey": {"root": True, "storage": True, "select": {"path"}, "rv": {"path"}},
            "auxiliary": {"__all__": {"path"}},
            "catalog": {"root", "storage"} | unsaid,
        }
        return self.model_dump(
            mode="json", by_alias=True, exclude=places | {"model": True, "tolerance": True}
        )


class Profile(Frozen):
    """Where and how fast; can never change a number in the catalog, on one kind of machine.

    A card that prepares spectra is a kind of its own: its sums round otherwise than a processor's.
    """

    runtime: Literal["local", "ray_data"] = "ray_data"
    """local: one process. ray_data: Ray Data with an actor pool; for a training, Ray Train and Tune."""
    actors: int | None = Field(default=None, ge=1)
    """Size of the actor pool; None: one per free CPU."""
    cpus: float = Field(default=1.0, gt=0)
    """CPUs that Ray reserves per reader and per actor."""
    gpus: float = Field(default=0.0, ge=0)
    """GPUs per actor; fractions share a card."""
    graphs: bool = False
    """Record a card's launches once as a CUDA graph and repeat them: for networks of many small layers."""
    in_flight: int = Field(default=2, ge=1, le=64)
    """Tasks that each actor has at once, one in work and the rest waiting for it: more never wait."""
    retries: int = Field(default=3, ge=-1)
    """How often workers of a node may die over a task until the run ends; -1: always. Lost nodes are none."""
    prepare: Literal["read", "actor"] = "actor"
    """Where spectra become inputs. read: on the CPUs that read; actor: beside the network, or on its GPU."""
    checkpoint_minutes: float = Field(default=0.0, ge=0)
    """Least minutes between checkpoints of a training: as much is lost when it is killed. 0: each epoch."""
    object_store: int | None = Field(default=None, ge=80 * 2**20)
    """Bytes of each node's object store, where Ray starts here, or that a cluster must have; None: any."""
    patience_minutes: float = Field(default=0.0, ge=0)
    """Minutes to wait for an autoscaler's nodes before a profile that does not fit is refused."""
    mix_machines: bool = False
    """Go on with a run on another kind of machine: labels differ by up to a thousandth of their errors."""
    address: Annotated[str, AfterValidator(cluster_address)] | None = None
    """Where `submit` finds a cluster, such as http://127.0.0.1:8265. Its token comes from the environment."""

    @model_validator(mode="after")
    def _graphs_are_of_a_card(self) -> Self:
        if self.graphs and self.gpus == 0:
            raise ValueError("graphs records what a card is told to do: it needs `gpus`")
        return self


def digest(plain: object) -> str:
    """sha256 hex of a JSON-able value, independent of key order."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
