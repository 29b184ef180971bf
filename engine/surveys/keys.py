"""Keys of [survey] that would change nothing are refused: who writes one expects it to count."""

from collections.abc import Mapping

from pydantic import BaseModel

from engine.errors import PlanError
from engine.spec import SurveySpec
from engine.surveys.survey import Survey

# Keys that each survey follows or does not (`Facts.follows`), and what to do where it does not.
REMEDIES: Mapping[str, str] = {
    "rv": "its velocities are those of its files: remove [survey.rv], or join others by [[auxiliary]]",
    "spectra": "its files hold spectra of one kind: remove survey.spectra",
    "table": 'remove [survey.table], or set survey.name = "table"',
}


def check_keys(survey: Survey, spec: SurveySpec) -> None:
    """PlanError, with the remedy, for a key of the spec that this survey, root or section does not follow."""
    for key, remedy in REMEDIES.items():
        if _is_given(spec, key) and key not in survey.follows:
            raise PlanError(f"survey.{key}: the survey {survey.name} does not use it; {remedy}")
    if _is_given(spec, "storage") and "://" not in spec.root:
        raise PlanError(
            f"survey.storage: {survey.name} is read from the folder {spec.root}, which needs none; "
            "remove it, or let survey.root name a bucket (s3://…)"
        )
    for key, part in (("select", spec.select), ("rv", spec.rv)):
        if part.sha256 is not None and part.path is None:
            raise PlanError(
                f"survey.{key}.sha256: {survey.name} is given no survey.{key}.path that it could be of; "
                "name the file, or remove it"
            )


def _is_given(spec: SurveySpec, key: str) -> bool:
    """Whether a spec says something under a key, be it what holds without it."""
    value = getattr(spec, key)
    if isinstance(value, BaseModel):
        return bool(value.model_fields_set)
    return value is not None and key in spec.model_fields_set
