"""The page on a catalog: one file, every figure that the catalog can give, a word on those it cannot."""

import json
import re
from dataclasses import replace
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgba_array
from matplotlib.image import imread

from catalogs import open_catalog
from catalogs.commit import commit
from catalogs.layout import Layout, Product
from catalogs.overview import overview
from catalogs.overview.records import Overview, Sky, Speed
from catalogs.verify import verify
from engine.columns import catalog_columns, schema
from engine.errors import InputError
from engine.types import Column
from jobs.catalog_report import report_place, write_report
from jobs.catalog_report.bottleneck import verdict
from jobs.catalog_report.curves import HATCHES, LINES, SHADES
from jobs.catalog_report.figures import pictures, why_not
from jobs.catalog_report.panels import MAP
from jobs.catalog_report.sky import area, draw_sky, project
from jobs.catalog_report.words import plain, ratio, share, sign
from tests.unit.catalog_rows import COLUMNS, KEY_NAMES, KEYS, LABELS, layout, publish, staged, stars, tasks
from tests.unit.test_training_report import images

SECTIONS = (
    "Flags",
    "Kiel diagram",
    "Abundance ratios",
    "Sky",
    "Errors along S/N",
    "Failures",
    "Where the time went",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    where = layout(tmp_path_factory.mktemp("report"))
    tables = tasks(3, 400)
    staged(where, tables, {"t001": "<script>alert(1)</script> truncated"})
    publish(where, [*tables], failed_allowed=1)
    return where


@pytest.fixture(scope="module")
def text(place: Layout, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(place.catalog, tmp_path_factory.mktemp("page") / "page.html").read_text()


def words(text: str) -> str:
    """What a person reads, without pictures and tags."""
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]+>", " ", text, flags=re.DOTALL))


def with_labels(root: Path, names: tuple[str, ...], table: pa.Table) -> Layout:
    """A catalog of some of the labels only."""
    where = layout(root)
    columns = catalog_columns(KEYS, [label for label in LABELS if label.name in names])
    wanted = schema(columns)
    staged(where, {"t0": table.select(wanted.names).cast(wanted)})
    commit(where, ["t0"], Product(keys=KEY_NAMES, columns=columns), manifest={}, failed_allowed=0)
    return where


def test_the_page_holds_every_figure_and_points_nowhere(text: str) -> None:
    shown = images(text)
    # Kiel twice, a ratio, the sky, errors and coverage of four labels, outcomes, where the time went.
    assert len(shown) == 2 + 1 + 1 + 4 + 1 + 4 + 1
    assert len(re.findall(r'<img [^>]*alt="[^"]{20,}"', text)) == len(shown)
    without = re.sub(r'href="data:,"', "", text)
    assert not re.findall(
        r"(?:href|src|action)=\"(?!data:image/png)|https?://|@import|url\(|<script|<link rel=\"s", without
    )
    read = words(text)
    assert all(section in read for section in (*SECTIONS, "stars v1", "1,200", "NO_RESULT", "[Mg/Fe]"))
    assert "&lt;script&gt;alert(1)&lt;/script&gt; truncated" in text
    assert "nan" not in read.lower().split()


def test_every_figure_shows_something(place: Layout) -> None:
    for picture in pictures(overview(open_catalog(place.catalog))):
        pixels = imread(BytesIO(picture.png))[..., :3]
        assert pixels.shape[1] >= 600
        assert (pixels.min(axis=2) < 0.9).mean() > 0.02


# Machado, Oliveira & Fernandes (2009), severity 1, on linear RGB.
BLIND = {
    "protan": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "deutan": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "tritan": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}


@pytest.mark.parametrize("kind", BLIND)
def test_colours_differ_for_the_colour_blind(kind: str) -> None:
    def seen(colours: Any) -> np.ndarray:
        linear = np.atleast_2d(to_rgba_array(colours))[:, :3] ** 2.2
        return np.clip(linear @ np.array(BLIND[kind]).T, 0, 1)

    for colours in ([*SHADES.values()], [colour for colour, _, _ in LINES.values()]):
        for one, other in combinations(seen(colours) ** (1 / 2.2), 2):
            assert np.linalg.norm(one - other) > 0.15
    bright = seen(colormaps[MAP](np.linspace(0, 1, 64))) @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(bright) > 0).all()
    assert len({*HATCHES.values()}) == len(HATCHES) and len({style for _, style, _ in LINES.values()}) == 3


def test_it_is_the_same_page_twice(place: Layout, text: str, tmp_path: Path) -> None:
    assert write_report(place.catalog, tmp_path / "again.html").read_text() == text


def test_where_it_goes_and_what_it_replaces(
    place: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = Path(str(place.catalog))
    assert report_place(catalog) == catalog.parent / "v1-report.html"
    mine = tmp_path / "mine.html"
    mine.write_text("<html>my thesis</html>")
    monkeypatch.setattr(
        "jobs.catalog_report.write.overview", lambda *_: pytest.fail("worked before it looked")
    )
    for target, said in (
        (mine, "no report of a catalog"),
        (tmp_path, "no report of a catalog"),
        (catalog / "page.html", "inside the catalog"),
        (catalog / "dataset" / "page.html", "inside the catalog"),
        (tmp_path / "none" / "page.html", "is no folder"),
    ):
        with pytest.raises(InputError, match=said):
            write_report(catalog, target)
    assert mine.read_text() == "<html>my thesis</html>"
    with pytest.raises(InputError, match="not a published catalog"):
        write_report(tmp_path)


def test_beside_the_catalog_it_is_no_stranger_and_is_written_anew(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, {"t0": stars(60, task_id="t0")})
    publish(where, ["t0"])
    written = write_report(where.catalog)
    assert written == tmp_path / "stars" / "v1-report.html"
    written.write_text(written.read_text().replace("stars v1", "old"))
    assert "stars v1" in write_report(where.catalog).read_text()
    verify(where.catalog)
    assert sorted(path.name for path in written.parent.iterdir()) == ["v1", "v1-report.html"]


@pytest.mark.parametrize(
    ("labels", "drawn", "said"),
    [
        (
            ("teff", "logg"),
            {"kiel", "sky", "errors", "outcomes", "coverage"},
            ["has no abundances", "neither fe_h"],
        ),
        (("fe_h", "mg_fe"), {"ratios", "sky", "errors", "outcomes", "coverage"}, ["has no teff and logg"]),
        (("mg_fe",), {"sky", "errors", "outcomes", "coverage"}, ["has no metallicity", "has no teff"]),
        ((), {"sky", "outcomes"}, ["has no labels", "has no abundances"]),
    ],
)
def test_what_a_catalog_lacks_is_left_out_and_said(
    tmp_path: Path, labels: tuple[str, ...], drawn: set[str], said: list[str]
) -> None:
    where = with_labels(tmp_path, labels, stars(300, task_id="t0"))
    found = overview(open_catalog(where.catalog))
    assert {picture.section for picture in pictures(found)} == drawn | {"time"}
    read = words(write_report(where.catalog, tmp_path / "page.html").read_text())
    assert all(one in read for one in said)


def failed_everywhere() -> pa.Table:
    """No label, no position, no S/N: every file was broken."""
    table = stars(80, task_id="t0")
    kept = {"_healpix_29": np.zeros(80, np.int64), "flags": np.full(80, 9, np.int32)}
    kept |= {"flag_bad": np.ones(80, bool), "flag_warn": np.zeros(80, bool)}
    kept |= {f"flag_{label.name}": np.full(80, 4, np.int16) for label in LABELS}
    same = (*KEY_NAMES, "shard_id", "row_in_shard", "task_id")

    def column(field: pa.Field) -> Any:
        if field.name in same:
            return table[field.name]
        return pa.array(kept[field.name], field.type) if field.name in kept else pa.nulls(80, field.type)

    return pa.Table.from_arrays([column(field) for field in table.schema], schema=table.schema)


def test_a_catalog_where_all_failed_still_gives_a_page(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, {"t0": failed_everywhere()}, {"t0": "the disk is gone"})
    publish(where, ["t0"], failed_allowed=1)
    text = write_report(where.catalog, tmp_path / "page.html").read_text()
    assert len(images(text)) == 1
    assert 'alt="Shares of time. labelling: draw' in text
    read = words(text)
    for one in (
        "No row is good",
        "no row has a position",
        "No row has any",
        "the disk is gone",
        "TASK_FAILED",
    ):
        assert one.lower() in read.lower()


def test_a_side_catalog_has_a_page_of_flags_and_sky(tmp_path: Path) -> None:
    where = layout(tmp_path)
    wide = Column(name="covariance", type=pa.list_(pa.field("element", pa.float32()), 3), description="C")
    table = stars(100, task_id="t0")
    numbers, none = pa.array(np.zeros(300, np.float32)), pa.array(table["flag_bad"].to_numpy())
    covariances = pa.FixedSizeListArray.from_arrays(numbers, type=wide.type, mask=none)
    staged(where, {"t0": table.append_column(schema((wide,)).field(0), covariances)})
    both = replace(where, has_side=True)
    product = Product(keys=KEY_NAMES, columns=COLUMNS, side=(wide,))
    commit(both, ["t0"], product, manifest={}, failed_allowed=0)
    found = overview(open_catalog(both.parts[1].catalog))
    assert {picture.section for picture in pictures(found)} == {"sky", "time"}
    read = words(write_report(both.parts[1].catalog).read_text())
    assert "stars-side v1" in read and "the catalog has no labels" in read


def test_the_page_says_where_the_time_went_unless_nobody_knows(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, {"t0": stars(40, task_id="t0")})
    publish(where, ["t0"])
    read = words(write_report(where.catalog).read_text())
    assert "The bottleneck is “draw”" in read and "The commit took" in read
    manifest = json.loads((where.catalog / "manifest.json").read_text())
    del manifest["seconds"]
    (where.catalog / "manifest.json").write_text(json.dumps(manifest))
    assert overview(open_catalog(where.catalog)).speed is None
    assert "Not known: the manifest" in words(write_report(where.catalog).read_text())


SPEED = Speed(
    tasks=10,
    rows=1000,
    seconds={"read": 2.0, "wait": 0.0, "prepare": 3.0, "draw": 14.0, "stage": 1.0},
    commit={"split": 1.0, "reduce": 4.0},
    labelling=12.5,
    workers=2,
    gpus=0.0,
    machines=("x86_64",),
)


def test_the_verdict_names_this_bottleneck_the_next_and_the_last() -> None:
    assert list(verdict(SPEED)) == [
        "The bottleneck is “draw”: 70.0 % of all work. One worker labels 50 rows/s.",
        "The next bottleneck is “prepare”: were “draw” for nothing, one worker would label 167 rows/s, with "
        "50.0 % of its time in “prepare”.",
        "Labelling took 12.5 s on 2 workers, at work for 80.0 % of it; the rest went into starting and "
        "waiting.",
        "The commit took 5 s, most of it for “reduce”; with more than about 4 workers like these it would be "
        "the bottleneck.",
    ]


@pytest.mark.parametrize(("wait", "words"), [(30.0, "Batches lay 3 s"), (0.1, "readers are what to add")])
def test_with_gpus_the_verdict_says_who_waits_for_whom(wait: float, words: str) -> None:
    found = replace(SPEED, gpus=1.0, seconds={**SPEED.seconds, "wait": wait})
    assert any(words in sentence for sentence in verdict(found))


def test_there_is_no_verdict_on_nothing() -> None:
    assert list(verdict(None)) == list(verdict(replace(SPEED, rows=0))) == []


def test_a_map_puts_stars_where_they_are() -> None:
    sky = Sky(order=0, pixel_H=np.array([4]), count_H=np.array([50]), without_position=0)
    figure = draw_sky(sky)
    shown = figure.axes[0].images[0].get_array()
    filled = ~np.ma.getmaskarray(shown)
    rows, columns = np.nonzero(filled)
    # Pixel 4 of order 0 lies around (0, 0): in the middle of the map.
    assert abs(columns.mean() / shown.shape[1] - 0.5) < 0.01
    assert abs(rows.mean() / shown.shape[0] - 0.5) < 0.01
    assert float(shown.max()) == pytest.approx(50 / area(0))
    assert area(0) == pytest.approx(41253 / 12, rel=1e-3)
    x, y = project(np.array([90.0, 0.0, -180.0]), np.array([0.0, 90.0, 0.0]))
    assert x == pytest.approx([-1, 0, 2], abs=1e-3)
    assert y == pytest.approx([0, 1, 0], abs=1e-3)


def test_words() -> None:
    assert [ratio(name) for name in ("mg_fe", "ti_2_fe", "alpha_m")] == ["[Mg/Fe]", "[Ti II/Fe]", "[α/M]"]
    assert (sign("fe_h"), plain("teff"), plain("logg"), sign("no_such")) == (
        "[Fe/H]",
        "Teff",
        "log g",
        "no_such",
    )
    said = [share(part, 10_000) for part in (0, 1, 5_000, 9_999, 10_000)]
    assert said == ["0 %", "<0.1 %", "50.0 %", ">99.9 %", "100 %"]
    assert share(0, 0) == "–"


def test_the_reasons_are_sentences(place: Layout) -> None:
    found: Overview = overview(open_catalog(place.catalog))
    assert why_not(found) == {}
    bare = replace(
        found, labels=(), kiel=None, ratios=(), sky=None, errors=(), outcomes=None, distributions=()
    )
    assert set(why_not(bare)) == {"kiel", "ratios", "sky", "errors", "outcomes", "coverage"}
    assert all(one[0].isupper() and one.endswith(".") for one in why_not(bare).values())
