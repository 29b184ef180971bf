"""`python -m jobs` and the script `abundant`: the command line, which hears Ctrl-C from the first moment."""

import sys


def main() -> None:
    """Import the command line, which takes a second, and run it; Ctrl-C until then is one line and 130."""
    try:
        from jobs.cli import command_line

        command_line()
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted: nothing was begun\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
