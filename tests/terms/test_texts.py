import hashlib

import pytest

from trueseed.errors import ConfigError
from trueseed.terms import Catalog
from trueseed.terms.catalog import SHIPPED
from trueseed.terms.texts import compare, told

TEXT = "Terms of Acmé\n\nOutput is yours.\n"
OWN = (SHIPPED / "own/own-work.toml").read_text("utf-8")


@pytest.fixture
def catalog(tmp_path):
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    mine = OWN.replace('"own-work"', '"acme"').replace('text_sha256 = "unknown"', f'text_sha256 = "{digest}"')
    (tmp_path / "terms").mkdir()
    (tmp_path / "terms/acme.toml").write_text(mine.replace('"own/*"', '"acme/*@api"'), "utf-8")
    return Catalog.load(tmp_path / "terms")


def ask(tmp_path, catalog, content: bytes, identity: str | None = None):
    (tmp_path / "text").write_bytes(content)
    return compare(tmp_path / "text", catalog, identity)


def test_the_same_bytes_are_the_text(tmp_path, catalog):
    found = ask(tmp_path, catalog, TEXT.encode())
    assert (found.documents, found.changes) == (("acme",), ())
    assert "byte for byte" in told(found)[1]


@pytest.mark.parametrize(
    ("content", "change"),
    [
        (TEXT.replace("\n", "\r\n").encode(), "with line ends as on Unix"),
        (("\ufeff" + TEXT).encode(), "without its byte order mark"),
        (TEXT.rstrip("\n").encode(), "with one line end at its end"),
        (TEXT.replace(".", ". ").encode(), "without blanks at the ends of lines"),
        (TEXT.replace("é", "e\u0301").encode(), "with composed letters (NFC)"),
    ],
)
def test_what_had_to_be_changed_is_said(tmp_path, catalog, content, change):
    found = ask(tmp_path, catalog, content)
    assert (found.documents, found.changes) == (("acme",), (change,))
    assert change in told(found)[1]


def test_another_word_is_another_text(tmp_path, catalog):
    found = ask(tmp_path, catalog, TEXT.replace("yours", "ours").encode(), "acme")
    assert found.documents == ()
    assert "it changed" in told(found)[1]


def test_bytes_that_are_no_text_are_compared_as_they_are(tmp_path, catalog):
    assert "not being UTF-8" in ask(tmp_path, catalog, b"\xff\xfe").untried


def test_a_document_without_a_digest_cannot_be_compared(tmp_path, catalog):
    with pytest.raises(ConfigError, match="no digest is known"):
        ask(tmp_path, catalog, b"x", "gemini-api-2025-11-20")


def test_a_file_that_is_not_there_is_the_users_to_mend(tmp_path, catalog):
    with pytest.raises(ConfigError, match="not a file"):
        compare(tmp_path / "nowhere", catalog)
