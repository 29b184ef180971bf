"""The surveys, one file each. Add one: write the file, add its line to SURVEYS."""

from engine.errors import PlanError
from engine.spec import SurveySpec
from engine.surveys.desi import DESI
from engine.surveys.survey import Survey

SURVEYS: dict[str, Survey] = {survey.name: survey for survey in (DESI,)}


def survey_of(spec: SurveySpec) -> Survey:
    """The table's entry, told what it must be told of this spec; PlanError when there is none."""
    if spec.name not in SURVEYS:
        raise PlanError(f"survey.name: {spec.name!r} is unknown; known: {', '.join(SURVEYS)}")
    survey = SURVEYS[spec.name]
    return survey if survey.configure is None else survey.configure(spec)
