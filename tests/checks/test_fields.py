"""JSON is found in an answer, and its fields are counted."""

import pytest

from trueseed.checks.fields import NOTHING, Fields, compared, found


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ('{"a": 1}', {"a": 1}), ('Sure!\n```json\n{"a": 1}\n```\nBye', {"a": 1}),
        ('It is {"a": [1, 2]} then.', {"a": [1, 2]}),
        ("{not this} but [1]", [1]), ("3", 3), ("null", None), ("nothing", NOTHING), ('{"a": NaN}', NOTHING),
        ("[" * 5000, NOTHING),
    ],
)  # fmt: skip
def test_json_is_found_where_it_is(answer: str, value: object) -> None:
    assert found(answer) == value


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({"name": " Ada", "age": 36.0, "tags": ["x", "y"]}, Fields(4, 4, 4)),
        ({"name": "Ada"}, Fields(1, 4, 1)),
        ({"name": "Ada", "more": 1}, Fields(1, 4, 2)),
        ({"age": "36", "tags": ["y", "x"]}, Fields(0, 4, 3)),
        ({"age": True}, Fields(0, 4, 1)),
        ([], Fields(0, 4, 1)),
        (NOTHING, Fields(0, 4, 0)),
    ],
)
def test_fields_are_right_by_their_place_and_value(given: object, fields: Fields) -> None:
    assert compared({"name": "Ada", "age": 36, "tags": ["x", "y"]}, given) == fields


def test_nothing_expected_and_nothing_given_is_right() -> None:
    assert compared({"tags": []}, {"tags": []}) == Fields(1, 1, 1)
    assert compared({}, {}) == Fields(1, 1, 1)
