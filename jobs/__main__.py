"""`python -m jobs` and the script `abundant`."""

from jobs.interrupt import leaving


def main() -> None:
    """Import the command line, which takes a second, and run it."""
    with leaving():
        from jobs.cli import command_line

        command_line()


if __name__ == "__main__":
    main()
