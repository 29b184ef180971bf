"""The report on a training: predictions.parquet, figures, and one page of HTML with all of them inside."""

from jobs.training_report.saliency import draw_gradients
from jobs.training_report.write import add_gradients, report_place, write_report

__all__ = ["add_gradients", "draw_gradients", "report_place", "write_report"]
