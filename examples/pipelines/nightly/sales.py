"""The functions of nightly.yaml."""

import csv
import sqlite3
import urllib.request
from contextlib import closing
from pathlib import Path


def fetch(url, to):
    """Fetch one file; the file's path is the value."""
    Path(to).parent.mkdir(exist_ok=True)
    with urllib.request.urlopen(url, timeout=10) as answer:
        Path(to).write_bytes(answer.read())
    return to


def load(files, database, day):
    """Put the rows of all files in the place of what the day had: so it can be done twice."""
    rows = []
    for file in files:
        with open(file, encoding="utf-8", newline="") as opened:
            rows += [
                (day, row["region"], row["product"], float(row["amount"])) for row in csv.DictReader(opened)
            ]
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS sales (day TEXT, region TEXT, product TEXT, amount REAL)"
        )
        connection.execute("DELETE FROM sales WHERE day = ?", [day])
        connection.executemany("INSERT INTO sales VALUES (?, ?, ?, ?)", rows)
    return {"rows": len(rows), "total": sum(amount for *_, amount in rows)}


def report(database, day, to):
    """Write totals by region as Markdown."""
    query = "SELECT region, count(*), sum(amount) FROM sales WHERE day = ? GROUP BY region ORDER BY region"
    with closing(sqlite3.connect(database)) as connection:
        totals = connection.execute(query, [day]).fetchall()
    lines = [f"# Sales of {day}", "", "| region | sales | total |", "| --- | ---: | ---: |"]
    lines += [f"| {region} | {count} | {total:.2f} |" for region, count, total in totals]
    Path(to).write_text("\n".join(lines) + "\n", encoding="utf-8")
