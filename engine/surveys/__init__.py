"""The surveys, one file each. Add one: write the file, add its line to SURVEYS."""

from engine.surveys.desi import DESI
from engine.surveys.survey import Survey

SURVEYS: dict[str, Survey] = {survey.name: survey for survey in (DESI,)}
