"""Fails, and says why."""

import sys

print("checking the numbers")
print("2 of 10 numbers are odd; even ones were promised", file=sys.stderr)
sys.exit(3)
