"""The program `bgoptimizer`, also as `python -m bgoptimizer`: loads and runs the command line."""

import sys


def main() -> int:
    """Run the command and return its exit code."""
    try:
        from bgoptimizer.cli import main as run

        return run()
    except (KeyboardInterrupt, RuntimeError) as stop:  # before `common.cli.run` takes it
        # where a class is made Python 3.11 raises another error from it
        if not isinstance(stop.__cause__ or stop, KeyboardInterrupt):
            raise
        print("bgoptimizer: interrupted", file=sys.stderr)
        return 130  # common.cli.EXIT_INTERRUPTED, which may not be loaded


if __name__ == "__main__":
    sys.exit(main())
