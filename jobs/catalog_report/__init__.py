"""The report on a catalog: one page of HTML with its figures inside, drawn from counts, never rows."""

from jobs.catalog_report.write import report_place, write_report

__all__ = ["report_place", "write_report"]
