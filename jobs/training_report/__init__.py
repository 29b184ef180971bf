"""The report on a training: predictions.parquet, figures, and one page of HTML with all of them inside."""

from jobs.training_report.saliency import draw_gradients
from jobs.training_report.write import write_report

__all__ = ["draw_gradients", "write_report"]
