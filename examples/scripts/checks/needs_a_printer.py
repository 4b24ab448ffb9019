"""Would print on paper. The configuration skips it and says why."""

raise SystemExit("there was a printer after all")
