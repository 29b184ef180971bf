"""Broken files by the thousand: a reader may refuse one, and must never do anything else."""
