"""Names that stand for patients without telling who they are."""

import hashlib
import hmac
import os

SHORTEST_KEY = 16  # characters
N_DIGITS = 12  # 48 bits: two of 100,000 patients get the same name with a chance of 1 in 56,000


def pseudonym(identifier: str, key: bytes) -> str:
    """Return a name for a patient that only the holder of the key can make again.

    It is the start of the HMAC-SHA256 [1]_ of the identifier. A plain hash would not do: whoever
    knows how a hospital numbers its patients can try all numbers.

    Parameters
    ----------
    identifier : str
        The patient's identifier. Spaces around it, which DICOM pads with, do not count.
    key : bytes
        The secret key (see `read_key`). The same key gives the same names.

    Returns
    -------
    str
        The letter ``p`` and 12 hexadecimal digits.

    Raises
    ------
    ValueError
        If the identifier is empty: all such patients would become one.

    References
    ----------
    .. [1] H. Krawczyk, M. Bellare, R. Canetti, HMAC: Keyed-Hashing for Message Authentication,
       RFC 2104, 1997. https://doi.org/10.17487/RFC2104
    """
    identifier = identifier.strip()
    if not identifier:
        raise ValueError("a pseudonym needs the patient's identifier, found an empty one")
    return "p" + hmac.new(key, identifier.encode(), hashlib.sha256).hexdigest()[:N_DIGITS]


def read_key(variable: str = "SEGFLOW_PSEUDONYM_KEY") -> bytes:
    """Return the key for pseudonyms from the environment.

    Parameters
    ----------
    variable : str
        Name of the environment variable. Spaces and line ends around its value do not count.

    Raises
    ------
    ValueError
        If it is missing or shorter than 16 characters.
    """
    key = os.environ.get(variable, "").strip()
    if len(key) < SHORTEST_KEY:
        found = f"has {len(key)} characters" if key else "is not set"
        raise ValueError(
            f"the environment variable {variable} {found}; pseudonyms need a secret of at least "
            f"{SHORTEST_KEY} characters (make one with: openssl rand -hex 32)"
        )
    return key.encode()
