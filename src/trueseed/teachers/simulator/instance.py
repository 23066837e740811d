"""The smallest JSON value that a JSON Schema allows, of the schemas that providers accept for structured output."""

from collections.abc import Mapping
from typing import Any

_DEEPEST = 24


def instance(schema: Mapping[str, Any], word: str) -> Any:
    """A value that `schema` allows; free strings are `word`. Patterns and formats are not looked at.

    Raises `ValueError` where no value is found: a schema that only contains itself, or a reference to nowhere.
    """
    return _Writer(schema, word).value(schema, 0)


class _Writer:
    def __init__(self, root: Mapping[str, Any], word: str) -> None:
        self._root, self._word = root, word

    def value(self, schema: Any, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError("the schema contains itself without an end")
        if not isinstance(schema, Mapping):
            return self._word  # `true` allows everything
        if "$ref" in schema:
            return self.value(self._resolved(str(schema["$ref"])), depth + 1)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        for several in ("anyOf", "oneOf"):
            if schema.get(several):
                return self._first(schema[several], depth)
        if schema.get("allOf"):
            return self.value(_merged(schema), depth + 1)
        return self._of_type(schema, depth)

    def _first(self, branches: list[Any], depth: int) -> Any:
        """Of the first branch that ends: a tree's node may be another node or null."""
        for branch in branches:
            try:
                return self.value(branch, depth + 1)
            except ValueError as err:
                reason = err
        raise ValueError(f"no branch of anyOf can be filled in: {reason}")

    def _of_type(self, schema: Mapping[str, Any], depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        match kind[0] if isinstance(kind, list) else kind:
            case "object":
                wanted = schema.get("required", schema.get("properties", {}))
                properties = schema.get("properties", {})
                return {name: self.value(properties.get(name, True), depth + 1) for name in wanted}
            case "array":
                return [self.value(schema.get("items", True), depth + 1) for _ in range(schema.get("minItems", 0))]
            case "integer" | "number":
                return _number(schema, whole="integer" in kind)
            case "boolean":
                return True
            case "null":
                return None
        return self._word.ljust(schema.get("minLength", 0), "a")[: schema.get("maxLength")]

    def _resolved(self, reference: str) -> Any:
        found: Any = self._root
        for part in reference.removeprefix("#").split("/"):
            if part:
                found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
        if found is None or not reference.startswith("#"):
            raise ValueError(f"{reference!r} is not in the schema")
        return found


def _merged(schema: Mapping[str, Any]) -> dict[str, Any]:
    merged = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema["allOf"]:
        for key, value in part.items():
            known = merged.get(key)
            if isinstance(known, Mapping) and isinstance(value, Mapping):
                merged[key] = {**known, **value}
            elif isinstance(known, list) and isinstance(value, list):
                merged[key] = [*known, *(each for each in value if each not in known)]
            else:
                merged[key] = value
    return merged


def _number(schema: Mapping[str, Any], *, whole: bool) -> float:
    """The allowed number nearest to 0 from above or, where there is none, the highest."""
    step = schema.get("multipleOf", 1)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    number: float = 0
    if low is not None and low > 0:
        number = -(-low // step) * step
        if number == schema.get("exclusiveMinimum"):
            number += step
    elif low is not None and low == 0 and schema.get("exclusiveMinimum") == 0:
        number = step
    elif high is not None and high <= 0:
        number = high // step * step
        if number == schema.get("exclusiveMaximum"):
            number -= step
    return int(number) if whole else number
