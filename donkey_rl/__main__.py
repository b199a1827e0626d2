"""Runs the command line as `python -m donkey_rl`."""

import sys

from donkey_rl.cli import main

if __name__ == "__main__":
    sys.exit(main())
