"""The report on a catalog in a browser (Debian's Chromium), and `abundant report` as a person meets it."""

from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

import pytest

from jobs.catalog_report import write_report
from tests.flows.command import Abundant
from tests.unit.catalog_rows import layout, publish, staged, tasks

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = which("chromium") or "/usr/bin/chromium"
# Of a phone, a tablet, a desktop.
WIDTHS = (375, 768, 1280)
ACROSS = "[document.documentElement.scrollWidth, innerWidth]"
LOADED = "[...document.images].every(image => image.complete && image.naturalWidth > 300)"
# Small figures hold letters of 8 points at 4 inches: narrower than this nobody reads them.
NARROWEST = "Math.min(...[...document.images].map(image => image.getBoundingClientRect().width))"
BROADEST = "Math.max(...[...document.images].map(image => image.getBoundingClientRect().right))"
TABLES = (
    "[...document.querySelectorAll('.table')].every(box => box.getBoundingClientRect().right <= innerWidth)"
)
PAPER = "getComputedStyle(document.body).backgroundColor"
# Contrast of text with what is behind it, as WCAG counts it.
CONTRAST = """() => {
  const light = text => { const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map(value => {
    const x = value / 255; return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = one => { for (; one; one = one.parentElement) {
    const colour = getComputedStyle(one).backgroundColor;
    if (!colour.includes(', 0)')) return colour; } return 'rgb(255, 255, 255)'; };
  return Math.min(...[...document.querySelectorAll('p, td, th, dt, dd, li b, li span, h1, h2')].map(one => {
    const pair = [light(getComputedStyle(one).color), light(behind(one))].sort((a, b) => b - a);
    return (pair[0] + 0.05) / (pair[1] + 0.05); })); }"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = layout(tmp_path_factory.mktemp("page"))
    tables = tasks(2, 500)
    long = f"{'/very/long/path' * 20}/coadd.fits cannot be read: " + "x" * 200
    staged(where, tables, {"t001": long})
    publish(where, [*tables], failed_allowed=1)
    return write_report(where.catalog)


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    if not Path(CHROMIUM).exists():
        pytest.skip("no Chromium here: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Visit:
    """A page that was opened, and all it asked for or complained of."""

    def __init__(self, browser: "Browser", file: Path, width: int, scheme: Any = "light") -> None:
        self.asked: set[str] = set()
        self.said: list[str] = []
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        self.page = context.new_page()
        self.page.on("request", lambda request: self.asked.add(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.goto(file.as_uri(), wait_until="load")


@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_a_phone_and_a_desktop(browser: "Browser", report: Path, width: int) -> None:
    visit = Visit(browser, report, width)
    across, inner = visit.page.evaluate(ACROSS)
    assert across <= inner == width
    assert visit.page.evaluate(LOADED)
    assert visit.page.evaluate(NARROWEST) >= 280
    assert visit.page.evaluate(BROADEST) <= width
    assert visit.page.evaluate(TABLES)
    assert visit.said == []
    assert {url for url in visit.asked if not url.startswith("data:")} == {report.as_uri()}
    assert len(visit.page.screenshot(full_page=True)) > 50_000


def test_it_can_be_read_by_day_and_by_night(browser: "Browser", report: Path) -> None:
    paper = {}
    for scheme in ("light", "dark"):
        visit = Visit(browser, report, 1280, scheme)
        paper[scheme] = visit.page.evaluate(PAPER)
        assert visit.page.evaluate(CONTRAST) >= 4.5
        assert visit.said == []
    assert paper["light"] == "rgb(255, 255, 255)" != paper["dark"]


def test_the_command_writes_the_page_and_names_it(abundant: Abundant, report: Path, tmp_path: Path) -> None:
    catalog = report.with_name("v1")
    done = abundant("report", catalog)
    assert done.code == 0, done.err
    assert done.err.rstrip().endswith(f"Report: {report}")
    assert abundant("report", catalog, "--out", tmp_path / "page.html").code == 0
    assert (tmp_path / "page.html").read_text() == report.read_text()
    (tmp_path / "mine.html").write_text("mine")
    for words in (
        (tmp_path,),
        (catalog, "--out", tmp_path / "mine.html"),
        (catalog, "--out", catalog / "x.html"),
    ):
        refused = abundant("report", *words)
        assert (refused.code, "Traceback" in refused.err, "Error:" in refused.err) == (2, False, True)
    next((catalog / "dataset").rglob("Npix=*.parquet")).write_bytes(b"")
    broken = abundant("report", catalog, "--out", tmp_path / "new.html")
    assert (broken.code, "is damaged" in broken.err, (tmp_path / "new.html").exists()) == (1, True, False)
