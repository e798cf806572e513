"""The program `bgrem`, also as `python -m bgrem`: loads and runs the command line."""

import sys


def main() -> int:
    """Run the command and return its exit code."""
    try:
        from bgrem.cli import main as run

        return run()
    except KeyboardInterrupt:  # before `common.cli.run` takes it
        print("bgrem: interrupted", file=sys.stderr)
        return 130  # common.cli.EXIT_INTERRUPTED, which may not be loaded


if __name__ == "__main__":
    sys.exit(main())
