"""The surveys, one file each. Add one: write the file, add its line to SURVEYS."""

from engine.errors import PlanError
from engine.surveys.desi import DESI
from engine.surveys.survey import Survey

SURVEYS: dict[str, Survey] = {survey.name: survey for survey in (DESI,)}


def survey_of(name: str) -> Survey:
    """The table's entry; PlanError when there is none."""
    if name not in SURVEYS:
        raise PlanError(f"survey.name: {name!r} is unknown; known: {', '.join(SURVEYS)}")
    return SURVEYS[name]
