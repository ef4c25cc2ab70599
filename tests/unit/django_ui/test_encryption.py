"""Helpers.encryption."""

import pytest

from Helpers.encryption import decrypt, encrypt

OTHER_KEY = "another-secret-key-of-at-least-32-characters"


def test_decrypts_its_own_tokens():
    sealed = encrypt("tests", "text — with ünicode")
    assert decrypt("tests", sealed) == "text — with ünicode"
    assert "text" not in sealed


def test_encrypts_differently_each_time():
    assert encrypt("tests", "text") != encrypt("tests", "text")


def test_does_not_decrypt_for_another_purpose():
    assert decrypt("other", encrypt("tests", "text")) is None


@pytest.mark.parametrize("token", ["", "nonsense", "ünicode", "gAAAAA==", "A" * 5000])
def test_does_not_decrypt(token):
    assert decrypt("tests", token) is None


def test_does_not_decrypt_a_changed_token():
    sealed = encrypt("tests", "text")
    for place in (0, 5, 20, len(sealed) - 5):
        flipped = "A" if sealed[place] != "A" else "B"
        assert decrypt("tests", sealed[:place] + flipped + sealed[place + 1 :]) is None


def test_decrypts_with_a_fallback_key_and_encrypts_with_the_new_one(settings):
    sealed, old_key = encrypt("tests", "text"), settings.SECRET_KEY
    settings.SECRET_KEY = OTHER_KEY
    assert decrypt("tests", sealed) is None
    settings.SECRET_KEY_FALLBACKS = [old_key]
    assert decrypt("tests", sealed) == "text"
    sealed = encrypt("tests", "text")
    settings.SECRET_KEY_FALLBACKS = []
    assert decrypt("tests", sealed) == "text"
