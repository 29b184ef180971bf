"""Maps of the sky from counts per HEALPix pixel: all of it (Mollweide), or the part that is covered."""

from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import Latitude, Longitude, SkyCoord
from cdshealpix.nested import healpix_to_lonlat, lonlat_to_healpix
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from catalogs.overview.records import Sky
from jobs.catalog_report.frame import WIDE
from jobs.catalog_report.panels import MAP
from jobs.training_report.axes import DPI, VERMILION, plain_log

WIDTH, HEIGHT = 6.4, 3.9
PIXELS = 700
ROOM = 0.06
LINE: dict[str, Any] = {"color": "0.6", "lw": 0.5, "zorder": 3}
Extent = tuple[float, float, float, float]
TURN = np.linspace(-180, 180, 181)


def draw_sky(sky: Sky) -> Figure:
    """Rows per square degree on all of the sky; right ascension grows to the left, 0 is in the middle."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained", dpi=DPI)
    axes = figure.subplots()
    x, y = np.meshgrid(np.linspace(-2, 2, PIXELS), np.linspace(-1, 1, PIXELS // 2))
    inside = (x / 2) ** 2 + y**2 < 1
    theta = np.arcsin(y)
    with np.errstate(invalid="ignore", divide="ignore"):
        lat = np.degrees(np.arcsin((2 * theta + np.sin(2 * theta)) / np.pi))
        lon = -90 * x / np.cos(theta)
    shown = np.ma.masked_all(x.shape)
    shown[inside] = _density(sky, lon[inside], lat[inside])
    _image(figure, axes, shown, (-2, 2, -1, 1), sky)
    _graticule(axes)
    axes.set(xlim=(-2.03, 2.03), ylim=(-1.03, 1.03), aspect="equal")
    axes.axis("off")
    return figure


def draw_closer(sky: Sky) -> Figure:
    """The same of the part of the sky that is covered; axes in degrees, square in the middle."""
    figure = Figure(figsize=WIDE, layout="constrained", dpi=DPI)
    axes = figure.subplots()
    lon_H, lat_H = (
        np.asarray(one.to_value(u.deg)) for one in healpix_to_lonlat(sky.pixel_H.astype(np.uint64), sky.order)
    )
    centre = _middle(lon_H)
    off_H = (lon_H - centre + 180) % 360 - 180
    (left, right), (low, high) = (_around(one_H) for one_H in (off_H, lat_H))
    low, high = max(low, -90), min(high, 90)
    x, y = np.meshgrid(np.linspace(left, right, PIXELS // 2), np.linspace(low, high, PIXELS // 2))
    shown = _density(sky, x.ravel() + centre, y.ravel()).reshape(x.shape)
    _image(figure, axes, shown, (left + centre, right + centre, low, high), sky)
    axes.xaxis.set_major_formatter(lambda at, _: f"{at % 360:g}")
    axes.set(xlabel="right ascension [deg]", ylabel="declination [deg]")
    axes.set_aspect(1 / max(np.cos(np.radians((low + high) / 2)), 0.05), adjustable="datalim")
    axes.invert_xaxis()
    return figure


def _density(sky: Sky, lon_N: np.ndarray, lat_N: np.ndarray) -> np.ma.MaskedArray:
    """Rows per square degree at places given in degrees; masked where there are none."""
    lon, lat = Longitude(lon_N, u.deg), Latitude(lat_N, u.deg)
    pixel_N = np.asarray(lonlat_to_healpix(lon, lat, depth=sky.order), np.int64)
    at_N = np.minimum(np.searchsorted(sky.pixel_H, pixel_N), len(sky.pixel_H) - 1)
    return np.ma.masked_where(sky.pixel_H[at_N] != pixel_N, sky.count_H[at_N] / area(sky.order))


def area(order: int) -> float:
    """Square degrees of a pixel."""
    return 4 * np.pi * np.degrees(1) ** 2 / (12 * 4**order)


def _image(figure: Figure, axes: Axes, shown: np.ma.MaskedArray, extent: Extent, sky: Sky) -> None:
    counts = sky.count_H / area(sky.order)
    norm = LogNorm(vmin=counts.min(), vmax=max(counts.max(), 1.5 * counts.min()))
    mesh = axes.imshow(
        shown, extent=extent, cmap=MAP, norm=norm, origin="lower", interpolation="nearest", aspect="auto"
    )
    sideways: dict[str, Any] = {"orientation": "horizontal", "shrink": 0.8, "pad": 0.03, "aspect": 35}
    bar = figure.colorbar(mesh, ax=axes, label="rows per square degree", **sideways)
    plain_log(bar.ax.xaxis)


def _graticule(axes: Axes) -> None:
    """Every 30 degrees of declination and 60 of right ascension, with the plane of the Galaxy."""
    axes.add_patch(Ellipse((0, 0), 4, 2, fill=False, ec="0.3", lw=1, zorder=4))
    for dec in range(-60, 61, 30):
        axes.plot(*project(TURN, np.full(len(TURN), dec)), **LINE)
        if dec:
            x, y = project(np.array([180.0]), np.array([float(dec)]))
            words = f"{dec:+d}°".replace("-", "−")
            axes.text(x[0] - 0.04, y[0], words, ha="right", va="center", fontsize=10)
    for ra in range(-180, 181, 60):
        axes.plot(*project(np.full(91, float(ra)), np.linspace(-90, 90, 91)), **LINE)
        if abs(ra) < 180:
            x, y = project(np.array([float(ra)]), np.zeros(1))
            axes.text(x[0], y[0], f"{ra % 360}°", fontsize=9, color="0.3", zorder=4)
    _galaxy(axes)


def _galaxy(axes: Axes) -> None:
    """The plane of the Galaxy, not drawn across the map where it leaves it on one side."""
    plane: Any = SkyCoord(np.linspace(0, 360, 361), np.zeros(361), unit="deg", frame="galactic").icrs
    x, y = project((plane.ra.deg + 180) % 360 - 180, plane.dec.deg)
    breaks = np.flatnonzero(np.abs(np.diff(x)) > 1) + 1
    x, y = (np.insert(one, breaks, np.nan) for one in (x, y))
    axes.plot(x, y, color=VERMILION, lw=1.2, ls="--", zorder=5)


def project(lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mollweide, in an ellipse of half-axes 2 and 1, of degrees from -180 to 180, east to the left."""
    theta = np.linspace(-np.pi / 2, np.pi / 2, 2001)
    parallel = np.interp(np.pi * np.sin(np.radians(lat)), 2 * theta + np.sin(2 * theta), theta)
    return -lon / 90 * np.cos(parallel), np.sin(parallel)


def _middle(lon_H: np.ndarray) -> float:
    """The direction in the middle of some right ascensions, across 0 too."""
    turn_H = np.radians(lon_H)
    return float(np.degrees(np.arctan2(np.sin(turn_H).mean(), np.cos(turn_H).mean())) % 360)


def _around(values_H: np.ndarray) -> tuple[float, float]:
    low, high = float(values_H.min()), float(values_H.max())
    room = max(ROOM * (high - low), 0.15)
    return low - room, high + room
