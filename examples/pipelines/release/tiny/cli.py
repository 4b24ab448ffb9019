"""The command line of the package."""

import sys


def main() -> None:
    """Print how many words the arguments have."""
    print(len(" ".join(sys.argv[1:]).split()))
