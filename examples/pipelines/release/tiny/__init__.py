"""A package so small that one sees through it: it counts words."""


def count(text: str) -> int:
    """Return how many words a text has."""
    return len(text.split())
