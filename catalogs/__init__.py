"""Published catalogs: open them, ask them, verify them."""

from catalogs.query import query
from catalogs.read import Catalog, open_catalog
from catalogs.verify import VerifyReport, verify

__all__ = ["Catalog", "VerifyReport", "open_catalog", "query", "verify"]
