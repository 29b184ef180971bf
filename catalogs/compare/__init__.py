"""How a catalog's labels compare with another's, and with themselves where a star has several spectra."""

from catalogs.compare.figure import residuals
from catalogs.compare.main import Asked, compare
from catalogs.compare.records import Bin, LabelReport, Report

__all__ = ["Asked", "Bin", "LabelReport", "Report", "compare", "residuals"]
