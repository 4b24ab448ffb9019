"""The functions of words.yaml."""

import re
from collections import Counter
from pathlib import Path


def texts(folder):
    """Return the texts of a folder."""
    return sorted(str(path) for path in Path(folder).glob("*.txt"))


def count(file):
    """Return how often each word stands in a text."""
    return Counter(re.findall(r"[a-z']+", Path(file).read_text(encoding="utf-8").lower()))


def top(counts, most):
    """Return the words that are used most."""
    together = sum((Counter(one) for one in counts), Counter())
    return [word for word, _ in together.most_common(most)]
