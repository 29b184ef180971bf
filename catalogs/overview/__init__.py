"""A whole catalog in numbers of bounded size, counted in SQL: what a report on it is drawn from."""

from catalogs.overview.measure import overview
from catalogs.overview.records import Overview

__all__ = ["Overview", "overview"]
