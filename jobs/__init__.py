"""Which runs exist, and the command line."""
