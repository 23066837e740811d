import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueseed.errors import ConfigError
from trueseed.terms.catalog import SHIPPED
from trueseed.terms.files import MOST_BYTES, parse, read

OWN = (SHIPPED / "own/own-work.toml").read_text("utf-8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"\x00\x01\x02", "not valid TOML"),
        (b"a = " + b"[" * 5000, "nested too deeply"),
        (b"# " + b"x" * MOST_BYTES, "larger than"),
        (b"a = " + b"9" * 10_000, "not valid TOML"),
        (b"", "Field required"),
    ],
)
def test_what_is_no_terms_document_is_a_sentence(tmp_path, content, message):
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_a_folder_is_no_document(tmp_path):
    with pytest.raises(ConfigError, match="not a file"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "right"), [("claus =", "clause ="), ("providr =", "provider ="), ("verdct =", "verdict =")]
)
def test_an_unknown_key_is_told_with_its_line(wrong, right):
    broken = OWN.replace(right, wrong)
    line = next(n for n, each in enumerate(broken.splitlines(), 1) if each.startswith(wrong))
    with pytest.raises(ConfigError, match=rf"mine\.toml, line {line}: unknown key .*nearest valid key: '{right[:-2]}'"):
        parse(broken, "mine.toml")


def test_a_wrong_value_is_told_with_its_line():
    broken = OWN.replace('"permit"', '"perhaps"')
    line = next(n for n, each in enumerate(broken.splitlines(), 1) if "perhaps" in each)
    with pytest.raises(ConfigError, match=rf"line {line}: permissions\.0\.verdict"):
        parse(broken, "mine.toml")


def test_a_number_is_not_a_day():
    with pytest.raises(ConfigError, match="effective_from: not a day"):
        parse(OWN.replace('effective_from = "unknown"', "effective_from = 5"), "mine.toml")


@settings(max_examples=60)
@given(st.integers(0, len(OWN)), st.text(max_size=5), st.integers(0, 20))
def test_a_damaged_document_is_read_or_is_the_users_to_mend(place, put, cut):
    with contextlib.suppress(ConfigError):
        parse(OWN[:place] + put + OWN[place + cut :], "mine.toml")
