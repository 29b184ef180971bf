"""The surveys, one file each. Add one: write the file, add its line to SURVEYS."""

from engine.errors import PlanError
from engine.spec import SurveySpec
from engine.surveys.apogee import APOGEE, APOGEE_VISIT
from engine.surveys.desi import DESI
from engine.surveys.gaia import GAIA_RVS, GAIA_XP, GAIA_XP_SAMPLED
from engine.surveys.galah import GALAH
from engine.surveys.giraffe import GIRAFFE
from engine.surveys.keys import check_keys
from engine.surveys.rave import RAVE
from engine.surveys.survey import Survey
from engine.surveys.table import TABLE

SURVEYS: dict[str, Survey] = {
    survey.name: survey
    for survey in (
        DESI,
        APOGEE,
        APOGEE_VISIT,
        GAIA_RVS,
        GAIA_XP,
        GAIA_XP_SAMPLED,
        RAVE,
        GALAH,
        GIRAFFE,
        TABLE,
    )
}


def survey_of(spec: SurveySpec) -> Survey:
    """The table's entry, told what it must be told of this spec.

    PlanError when there is none, or the spec has keys that it does not follow.
    """
    if spec.name not in SURVEYS:
        raise PlanError(f"survey.name: {spec.name!r} is unknown; known: {', '.join(SURVEYS)}")
    survey = SURVEYS[spec.name]
    check_keys(survey, spec)
    return survey if survey.configure is None else survey.configure(spec)
