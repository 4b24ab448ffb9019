"""Pretends to fetch the numbers of a day."""

import argparse
import json
import pathlib
import tempfile

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--day", required=True, help="the day to fetch")
day = parser.parse_args().day

target = pathlib.Path(tempfile.gettempdir()) / "dirigent-example.json"
target.write_text(json.dumps({"day": day, "numbers": list(range(10))}))
print(f"wrote ten numbers of {day} to {target}")
