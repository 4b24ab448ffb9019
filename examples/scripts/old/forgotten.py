"""Lies in a folder that the configuration leaves out: it is never found."""

raise SystemExit("this was not to run")
