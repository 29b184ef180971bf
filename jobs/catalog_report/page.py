"""The report as one page of HTML that needs nothing beside it."""

from base64 import b64encode
from collections.abc import Sequence

from jinja2 import Environment, StrictUndefined

from catalogs.overview import Overview, along, distributions, planes, sky
from catalogs.read import Catalog
from jobs.catalog_report import facts
from jobs.catalog_report.bottleneck import verdict
from jobs.catalog_report.figures import Picture, why_not
from jobs.catalog_report.template import MARK, TEMPLATE
from jobs.training_report.axes import DPI

GRAIN = (
    f"planes of at most {planes.CELLS} × {planes.CELLS} cells ({planes.MEDIAN_BINS} bins of metallicity "
    f"in each for its median), {along.STEPS} bins of S/N × {along.ERROR_STEPS} of an error, "
    f"{distributions.STEPS} bins of a label, HEALPix pixels of order {sky.ORDER} "
    f"({sky.FINEST} where little of the sky is covered)"
)


def page(catalog: Catalog, found: Overview, drawn: Sequence[Picture]) -> str:
    """The whole report as text."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    about = catalog.manifest["catalog"]
    sections: dict[str, list[tuple[str, int, int, str]]] = {}
    for picture in drawn:
        sections.setdefault(picture.section, []).append(_image(picture))
    return environment.from_string(TEMPLATE).render(
        mark=MARK,
        title=f"{about['name']} {about['version']}",
        path=str(catalog.path),
        headline=facts.headline(catalog, found),
        facts=facts.facts(catalog),
        flags=facts.flags(catalog),
        figures=sections,
        absent=why_not(found),
        metallicity=found.kiel.z if found.kiel else None,
        outcomes=found.outcomes,
        nowhere=found.sky.without_position if found.sky else catalog.rows,
        coverage=list(facts.coverage(found.distributions)),
        failures=facts.failed(found.failures),
        unreadable=facts.failed(found.unreadable),
        no_result=facts.failed(found.no_result),
        speed=facts.speed(found.speed),
        commit=facts.commit_steps(found.speed),
        verdict=list(verdict(found.speed)),
        ran_on=facts.run(found.speed) if found.speed else "",
        timed=found.speed,
        grain=GRAIN,
    )


def _image(drawn: Picture) -> tuple[str, int, int, str]:
    """What it shows, its size on the page, and content for a data URI."""
    # PNG: width and height in pixels stand at bytes 16 and 20.
    width, height = (int.from_bytes(drawn.png[at : at + 4], "big") * 100 // DPI for at in (16, 20))
    return drawn.alt, width, height, b64encode(drawn.png).decode()
