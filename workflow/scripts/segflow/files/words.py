"""Words of messages that follow from numbers."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number of things as people write it: ``1 case``, ``2 cases``, ``1,200 cases``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
