"""What commands share: the types of their arguments, and how they print."""

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, RenderableType

from engine.errors import RunError

# As shells count: 128 and the number of the signal, SIGPIPE.
CLOSED_PIPE = 141

SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="A run spec in TOML; see jobs/infer/.")]
TrainingPath = Annotated[
    Path, typer.Argument(metavar="SPEC", help="A training spec in TOML; see jobs/train/.")
]
ProfilePath = Annotated[
    Path | None, typer.Option("--profile", metavar="FILE", help="Where and how fast; see cluster/profiles/.")
]
# An address such as s3://bucket/prefix is no Path, which would drop a slash.
CatalogPath = Annotated[
    str, typer.Argument(metavar="CATALOG", help="A published catalog: root/name/version, or s3://….")
]


def group() -> typer.Typer:
    """A group of commands."""
    return typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )


@contextmanager
def printing() -> Iterator[None]:
    """RunError where stdout takes no more; a reader that has enough (`| head`) ends the program silently."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        if error.errno is None:
            raise
        if error.errno != errno.EPIPE:
            raise RunError(f"the output cannot be written: {error.strerror}") from error
        # What is left in stdout's buffer is flushed once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(CLOSED_PIPE) from None


def show_text(pieces: Iterable[str]) -> None:
    """Print text on stdout as it comes."""
    with printing():
        for text in pieces:
            sys.stdout.write(text)
            sys.stdout.flush()


def show_page(page: RenderableType) -> None:
    """Print on stdout. Rich only writes the text: by itself it would end the program at a closed pipe."""
    console = Console(highlight=False)
    with console.capture() as text:
        console.print(page)
    with printing():
        sys.stdout.write(text.get())
