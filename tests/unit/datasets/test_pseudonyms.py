import hashlib
import hmac

import pytest

from segflow.datasets.pseudonyms import pseudonym, read_key

KEY = b"0123456789abcdef"


def test_a_pseudonym_is_a_keyed_hash():
    expected = hmac.new(KEY, b"HOSPITAL-4711", hashlib.sha256).hexdigest()
    assert pseudonym("HOSPITAL-4711", KEY) == "p" + expected[:12]


def test_the_published_example_of_the_hash_holds():
    # Test case 2 of RFC 4231.
    name = pseudonym("what do ya want for nothing?", b"Jefe")
    assert name == "p5bdcc146bf60"


def test_patients_and_keys_have_names_of_their_own():
    names = {pseudonym(patient, key) for patient in ("1", "2") for key in (KEY, KEY[::-1])}
    assert len(names) == 4


def test_padding_does_not_make_another_patient():
    assert pseudonym(" 4711 ", KEY) == pseudonym("4711", KEY)


@pytest.mark.parametrize("identifier", ["", "  "])
def test_an_empty_identifier_is_refused(identifier):
    with pytest.raises(ValueError, match="needs the patient's identifier, found an empty one"):
        pseudonym(identifier, KEY)


@pytest.mark.parametrize("value", [KEY.decode(), f" {KEY.decode()}\n"])
def test_the_key_comes_from_the_environment(monkeypatch, value):
    monkeypatch.setenv("SEGFLOW_PSEUDONYM_KEY", value)
    monkeypatch.setenv("OTHER", "another secret of mine")
    assert read_key() == KEY
    assert read_key("OTHER") == b"another secret of mine"


@pytest.mark.parametrize(
    ("value", "found"),
    [(None, "is not set"), ("", "is not set"), ("secret of Jane", "has 14 characters")],
)
def test_a_missing_or_short_key_is_refused_and_not_shown(monkeypatch, value, found):
    monkeypatch.delenv("SEGFLOW_PSEUDONYM_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("SEGFLOW_PSEUDONYM_KEY", value)
    with pytest.raises(ValueError, match=f"SEGFLOW_PSEUDONYM_KEY {found}; .*16") as caught:
        read_key()
    assert "openssl rand -hex 32" in str(caught.value)
    assert "Jane" not in str(caught.value)
