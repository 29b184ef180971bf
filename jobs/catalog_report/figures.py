"""All figures of the page, in its order, as PNG; and in words why one is not there."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO

from matplotlib import style
from matplotlib.figure import Figure

from catalogs.overview import Overview
from catalogs.overview.records import Distribution, Plane, Sky, Speed
from jobs.catalog_report.bottleneck import draw_time, work_of
from jobs.catalog_report.curves import draw_coverage, draw_errors, draw_outcomes
from jobs.catalog_report.panels import draw_kiel, draw_kiel_density, draw_ratio
from jobs.catalog_report.sky import draw_closer, draw_sky
from jobs.catalog_report.words import few, plain, share, short


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One figure: the section it belongs to, what a reader who cannot see it is told, and the PNG."""

    section: str
    alt: str
    png: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    section: str
    alt: str
    draw: Callable[[], Figure]


def pictures(found: Overview) -> Iterator[Picture]:
    """Every figure that can be drawn, whatever a matplotlibrc asks for."""
    with style.context("default"):
        for planned in _all(found):
            png = BytesIO()
            planned.draw().savefig(png, format="png", metadata={"Software": "abundant"})
            yield Picture(section=planned.section, alt=planned.alt, png=png.getvalue())


def how_many(found: Overview) -> int:
    """How many figures there will be."""
    return sum(1 for _ in _all(found))


def _all(found: Overview) -> Iterator[_Planned]:
    yield from _kiel(found)
    for plane in found.ratios:
        yield _Planned(
            section="ratios", alt=_of_plane(plane, "number of rows"), draw=partial(draw_ratio, plane)
        )
    yield from _sky(found)
    for one in found.errors:
        alt = f"Error of {plain(one.name)} along S/N, {one.rows:,} good rows: {_and([*one.bands])}"
        yield _Planned(section="errors", alt=alt, draw=partial(draw_errors, one))
    if found.outcomes is not None:
        alt = "Shares of rows by outcome (ok, flag_warn, flag_bad, no result) along S/N, and rows per bin"
        yield _Planned(section="outcomes", alt=alt, draw=partial(draw_outcomes, found.outcomes))
    for one in found.distributions:
        if one.rows:
            yield _Planned(section="coverage", alt=_of_label(one), draw=partial(draw_coverage, one))
    if found.speed is not None and sum(work_of(found.speed).values()) > 0:
        alt = f"Shares of time. {_of_speed(found.speed)}"
        yield _Planned(section="time", alt=alt, draw=partial(draw_time, found.speed))


def _kiel(found: Overview) -> Iterator[_Planned]:
    plane, labels = found.kiel, found.distributions
    if plane is None:
        return
    if plane.z is not None:
        alt = _of_plane(plane, f"median {plain(plane.z)}")
        yield _Planned(section="kiel", alt=f"Kiel diagram. {alt}", draw=partial(draw_kiel, plane, labels))
    alt = f"Kiel diagram. {_of_plane(plane, 'number of rows')}"
    yield _Planned(section="kiel", alt=alt, draw=partial(draw_kiel_density, plane, labels))


def _sky(found: Overview) -> Iterator[_Planned]:
    if found.sky is not None:
        alt = f"Map of all the sky in Mollweide projection. {_of_sky(found.sky)}"
        yield _Planned(section="sky", alt=alt, draw=partial(draw_sky, found.sky))
    if found.zoom is not None:
        alt = f"Map of the part of the sky that is covered. {_of_sky(found.zoom)}"
        yield _Planned(section="sky", alt=alt, draw=partial(draw_closer, found.zoom))


def _of_plane(plane: Plane, colour: str) -> str:
    return (
        f"{plain(plane.y)} from {few(plane.y_edges[0])} to {few(plane.y_edges[-1])} over "
        f"{plain(plane.x)} from {few(plane.x_edges[0])} to {few(plane.x_edges[-1])}, "
        f"{plane.rows:,} good rows, coloured by {colour}"
    )


def _of_sky(sky: Sky) -> str:
    return f"{sky.count_H.sum():,} rows in {len(sky.pixel_H):,} HEALPix pixels of order {sky.order}"


def _of_speed(speed: Speed) -> str:
    parts = {"labelling": work_of(speed), "commit": speed.commit}
    listed = (f"{name}: {_shares(seconds)}" for name, seconds in parts.items() if seconds)
    return "; ".join(listed)


def _shares(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share(spent, sum(seconds.values()))}" for name, spent in seconds.items())


def _of_label(found: Distribution) -> str:
    if found.low is None or found.high is None:
        return f"Histogram of {plain(found.name)}, {found.rows:,} rows; its training range is not known"
    ends = f"{few(found.low)} to {few(found.high)} {short(found.unit)}".strip()
    return (
        f"Histogram of {plain(found.name)}, {found.rows:,} rows: "
        f"{share(found.inside, found.rows)} inside of the training range, {ends}"
    )


def _and(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def why_not(found: Overview) -> dict[str, str]:
    """For each section without a figure, why; and what the figures of another lack."""
    labels, said = set(found.labels), {}
    if found.kiel is None:
        missing = [label for label in ("teff", "logg") if label not in labels]
        said["kiel"] = f"no Kiel diagram: {_lacks(missing)}"
    elif found.kiel.z is None:
        said["kiel"] = "not coloured by metallicity: the catalog has neither fe_h nor m_h."
    if not found.ratios:
        none = not any(
            label.endswith(("_fe", "_h", "_m")) and label not in ("fe_h", "m_h") for label in labels
        )
        base = [] if labels & {"fe_h", "m_h"} else ["metallicity"]
        said["ratios"] = f"no abundance plane: {_lacks(['abundances'] if none else base)}"
    if found.sky is None:
        said["sky"] = "no map: no row has a position."
    if not found.errors:
        said["errors"] = f"no errors along S/N: {_lacks([] if labels else ['labels'])}"
    if found.outcomes is None:
        said["outcomes"] = "not drawn along S/N: no row has any."
    if not any(one.rows for one in found.distributions):
        said["coverage"] = f"no distribution: {_lacks([] if labels else ['labels'])}"
    return {section: words[0].upper() + words[1:] for section, words in said.items()}


def _lacks(missing: list[str]) -> str:
    return f"the catalog has no {_and(missing)}." if missing else "no row is good."
