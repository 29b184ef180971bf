"""What a trained network is worth on stars it never saw: the record, its file, its numbers."""

from engine.train.report.files import load_validation, save_validation
from engine.train.report.gradients import Gradients, gradients, gradients_of
from engine.train.report.summary import Bin, Honesty, LabelSummary, Spread, Versus, summary
from engine.train.report.validation import EpochScore, LabelStars, Validation

__all__ = [
    "Bin",
    "EpochScore",
    "Gradients",
    "Honesty",
    "LabelStars",
    "LabelSummary",
    "Spread",
    "Validation",
    "Versus",
    "gradients",
    "gradients_of",
    "load_validation",
    "save_validation",
    "summary",
]
