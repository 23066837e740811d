import pytest

from trueseed.checks.schema import fault, must_be_one

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "born": {"type": "integer"}, "child": {"$ref": "#/$defs/person"}},
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"person": {"type": "object", "required": ["name"]}},
}


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ({"name": "Ada", "born": 1815}, ""),
        ({"name": "Ada", "born": "1815"}, "in born: '1815' is not of type 'integer'"),
        ({"nam": "Ada"}, "at the top: "),
        ({"name": "Ada", "child": {}}, "in child: 'name' is a required property"),
        ([], "at the top: [] is not of type 'object'"),
    ],
)
def test_a_fault_says_where(value, wrong):
    assert fault(PERSON, value).startswith(wrong)
    assert bool(fault(PERSON, value)) == bool(wrong)


@pytest.mark.parametrize(
    ("schema", "because"),
    [
        ("text", "an object"),
        ({"type": "strnig"}, "in type: 'strnig' is not valid"),
        ({"properties": {"a": {"minimum": "1"}}}, "in properties.a.minimum"),
        ({"$ref": "#/$defs/nobody"}, "refers to '#/\\$defs/nobody', which is not in it"),
        ({"$ref": "https://example.org/person.json"}, "which is not in it"),
        ({"$schema": "https://example.org/draft"}, "a draft that is not known here"),
    ],
)
def test_what_is_no_schema_is_told_and_nothing_is_fetched(schema, because):
    with pytest.raises(ValueError, match=because):
        must_be_one(schema)


def test_a_schema_that_goes_round_in_circles_ends():
    round_ = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
    must_be_one(round_)
    assert "round in circles" in fault(round_, 1)


def test_an_older_draft_is_read_as_its_own():
    old = {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1, "exclusiveMinimum": True}
    must_be_one(old)
    assert fault(old, 1)
    assert not fault(old, 2)
