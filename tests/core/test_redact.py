import pytest

from trueseed.core.redact import HIDDEN, redact


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-abcd1234efgh5678",
        "Incorrect API key provided: sk-abcd****5678",
        "sk-ant-api03-AbCd_1234-xyz",
        "AIzaSyA1234567890abcdef",
        "Authorization: Bearer 0123456789abcdef",
        "Consumer 'api_key:0123456789' has been suspended",
        "http://me:passw0rd@host/v1",
    ],
)
def test_what_is_shaped_like_a_key_is_hidden(text):
    assert HIDDEN in redact(text)


def test_a_known_key_of_any_shape_is_hidden():
    assert redact("it is 0a1b2c3d!", ["0a1b2c3d"]) == f"it is {HIDDEN}!"


@pytest.mark.parametrize("shown", [6, 7, 31, 32])
def test_a_known_key_is_hidden_where_a_text_was_cut_off_amid_it(shown):
    key = "5ec2e7f00d5ec2e7f00d5ec2e7f00d42"
    assert redact(f"it is {key[:shown]}", [key]) == f"it is {HIDDEN}"


@pytest.mark.parametrize("text", ["task-based learning", "none of it", "risk-averse people", "http://host/v1?x=1"])
def test_ordinary_words_are_left_alone(text):
    assert redact(text, ["none"]) == text
