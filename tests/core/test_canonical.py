"""RFC 8785 as its examples have it, and the digests built on it."""

import json
import re

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from trueseed.core.canonical import canonical, digest, file_digest, now, parse_canonical, sha256

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def test_the_example_of_the_rfc_is_met():
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\nA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical(value).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_are_sorted_by_utf_16_units():
    value = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
    assert list(json.loads(canonical(value)).values()) == [2, 4, 6, 7, 1, 5, 3]


@given(plain)
def test_canonical_bytes_read_back_as_the_same_value_and_the_same_bytes(value):
    data = canonical(value)
    assert json.loads(data, parse_int=float) == value  # 1e17 comes back as an integer: JSON has one kind of number
    assert canonical(json.loads(data)) == data


written = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()) | st.integers(), inner)
    | st.tuples(inner),
    max_leaves=8,
)  # fmt: skip


@given(written)
def test_what_is_written_quickly_is_what_rfc8785_writes(value):
    try:
        expected = rfc8785.dumps(value)
    except (rfc8785.IntegerDomainError, UnicodeEncodeError):
        return  # `canonical` reads large integers as doubles, and is tested above
    except rfc8785.CanonicalizationError:
        with pytest.raises(rfc8785.CanonicalizationError):
            canonical(value)
        return
    assert canonical(value) == expected
    assert canonical(parse_canonical(expected)) == expected


@given(plain, st.data())
def test_no_other_bytes_than_the_canonical_ones_are_read(value, data):
    whole = canonical(value)
    at = data.draw(st.integers(0, len(whole)))
    other = whole[:at] + data.draw(st.sampled_from([b" ", b"0", b"\\u0041", b".0", b"-", b""])) + whole[at:]
    try:
        found = parse_canonical(other)
    except ValueError:
        return
    assert canonical(found) == other


@pytest.mark.parametrize(
    "text", ['{"b":1,"a":2}', '{"a":1,"a":1}', "1.0", "-0", "[1, 2]", '"\\u00e9"', '"\\/"', "NaN", "", "1e2"]
)
def test_another_spelling_is_refused(text):
    with pytest.raises(ValueError, match=r"canonical|Expecting|JCS"):
        parse_canonical(text.encode())


@given(st.dictionaries(st.text(), plain, min_size=2, max_size=5), st.randoms())
def test_the_order_of_keys_does_not_change_a_digest(value, random):
    items = list(value.items())
    random.shuffle(items)
    assert digest(dict(items)) == digest(value)


VALUES_WITHOUT_A_FORM = [
    float("nan"), float("inf"), 2**53 + 1, 2**60, {1: 2}, b"bytes", {"a": object()}, "\ud800", {"\ud800": 1}
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES_WITHOUT_A_FORM)
def test_what_json_cannot_say_in_one_way_is_an_error(value):
    with pytest.raises(rfc8785.CanonicalizationError):
        canonical(value)


def test_a_digest_is_the_sha256_of_the_canonical_bytes():
    assert digest({"b": 1, "a": [True, None]}) == sha256(b'{"a":[true,null],"b":1}')
    assert re.fullmatch("[0-9a-f]{64}", digest({}))


def test_a_file_has_the_digest_of_its_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    assert file_digest(tmp_path / "file") == sha256(b"x" * 100_000)


def test_the_time_is_utc_to_the_second():
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", now())
