"""Catalogs for those who have no Parquet: FITS, a CDS sample, and releases with checksums and provenance."""
