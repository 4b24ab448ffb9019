"""``python -m dirigent``: the same command line as the program ``dirigent``."""

import sys

from dirigent._scripts import run_orchestrator

if __name__ == "__main__":
    sys.exit(run_orchestrator())
