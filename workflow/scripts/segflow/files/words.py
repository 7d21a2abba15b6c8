"""Words of messages that follow from numbers and names."""

from collections.abc import Iterable


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number of things as people write it: ``1 case``, ``2 cases``, ``1,200 cases``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def enumerate_some(names: Iterable[str], shown: int = 5) -> str:
    """Return the first few names as text, and how many more there are."""
    names = sorted(names)
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
