"""Does JSON hold against a JSON Schema? By the package jsonschema, of the draft that `$schema` names, else 2020-12.

>>> fault({"type": "object", "required": ["name"]}, {"nam": "Ada"})
"at the top: 'name' is a required property"

Nothing is fetched: a reference out of the schema is a mistake. `format` is not asserted, as the drafts have it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from trueseed.errors import ConfigError

SHOWN = 200  # characters of what is wrong


def must_be_one(schema: Any) -> None:
    """Raises `ValueError` for what is no JSON Schema, `ConfigError` when the package is not installed."""
    if not isinstance(schema, Mapping):
        raise ValueError(f"'schema' must be a JSON Schema, an object, and not {schema!r}"[:SHOWN])
    kind = _kind(schema)
    from jsonschema.exceptions import SchemaError
    from jsonschema_specifications import REGISTRY
    from referencing import Resource
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    try:
        kind.check_schema(schema)
    except SchemaError as err:
        raise ValueError(f"'schema' is no JSON Schema: {_place(err)}: {err.message}"[:SHOWN]) from err
    resource = Resource.from_contents(schema, default_specification=DRAFT202012)
    inside = REGISTRY.with_resource("", resource).crawl().resolver_with_root(resource)
    for reference in _references(schema):
        try:
            inside.lookup(reference)
        except Unresolvable as err:
            raise ValueError(f"'schema' refers to {reference!r}, which is not in it") from err


def fault(schema: Mapping[str, Any], value: Any) -> str:
    """What is wrong with the value first, and where; '' when it holds. schema: one that `must_be_one` let pass."""
    from jsonschema.exceptions import best_match
    from jsonschema_specifications import REGISTRY

    try:
        found = best_match(_kind(schema)(schema, registry=REGISTRY).iter_errors(value))
    except RecursionError:
        return "the schema goes round in circles on it"
    return f"{_place(found)}: {found.message}"[:SHOWN] if found else ""


def _kind(schema: Mapping[str, Any]) -> Any:
    """The validator of its draft."""
    try:
        from jsonschema import Draft202012Validator
        from jsonschema.validators import validator_for
    except ImportError as err:
        raise ConfigError("the package jsonschema is not installed; pip install 'trueseed[eval]'") from err
    if (draft := schema.get("$schema")) is not None and validator_for(schema, default=None) is None:
        raise ValueError(f"'schema' is of a draft that is not known here: {draft!r}"[:SHOWN])
    return validator_for(schema, default=Draft202012Validator)


def _place(error: Any) -> str:
    return "in " + ".".join(map(str, error.absolute_path)) if error.absolute_path else "at the top"


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        if isinstance(found := schema.get("$ref"), str):
            yield found
        for part in schema.values():
            yield from _references(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _references(part)
