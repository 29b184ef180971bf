"""The `inspect` command: what is this file, and what could be made of it."""

from jobs.inspect.guess import Guess, guess
from jobs.inspect.page import page
from jobs.inspect.picture import draw_row

__all__ = ["Guess", "draw_row", "guess", "page"]
