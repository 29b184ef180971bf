"""Spectrum -> labels. Start reading at route.py."""
