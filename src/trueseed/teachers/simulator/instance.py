"""The smallest JSON value that a JSON Schema allows, of the schemas that providers accept for structured output."""

import math
from collections.abc import Mapping
from typing import Any

_LONGEST = 1000


def instance(schema: Mapping[str, Any], word: str) -> Any:
    """A value that `schema` allows; free strings are `word`. Patterns and formats are not looked at.

    Raises `ValueError` where no value is found: a schema that only contains itself, a reference to nowhere, no schema.
    """
    try:
        return _Writer(schema, word).value(schema, ())
    except (TypeError, AttributeError, LookupError, ArithmeticError, RecursionError) as err:
        raise ValueError(f"it is not a JSON Schema: {err}") from err


class _Writer:
    def __init__(self, root: Mapping[str, Any], word: str) -> None:
        self._root, self._word = root, word

    def value(self, schema: Any, within: tuple[str, ...]) -> Any:
        """within: the references that are being written."""
        if not isinstance(schema, Mapping):
            return self._word  # `true` allows everything
        if "$ref" in schema:
            reference = str(schema["$ref"])
            if reference in within:
                raise ValueError(f"{reference!r} contains itself without an end")
            return self.value(self._resolved(reference), (*within, reference))
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        for several in ("anyOf", "oneOf"):
            if schema.get(several):
                return self._first(schema[several], within)
        if schema.get("allOf"):
            return self.value(_merged(schema), within)
        return self._of_type(schema, within)

    def _first(self, branches: list[Any], within: tuple[str, ...]) -> Any:
        """Of the first branch that ends: a tree's node may be another node or null."""
        for branch in branches:
            try:
                return self.value(branch, within)
            except ValueError as err:
                last = err
        raise last

    def _of_type(self, schema: Mapping[str, Any], within: tuple[str, ...]) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        match kind[0] if isinstance(kind, list) else kind:
            case "object":
                wanted = schema.get("required", schema.get("properties", {}))
                properties = schema.get("properties", {})
                return {name: self.value(properties.get(name, True), within) for name in wanted}
            case "array":
                least = schema.get("minItems", 0)
                if least > _LONGEST:
                    raise ValueError(f"minItems is {least}, which is more than {_LONGEST}")
                return [self.value(schema.get("items", True), within) for _ in range(least)]
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
    """0 where it is allowed, else the middle of the bounds or, with one bound or steps, what is allowed next to it."""
    over, under = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    lowest = max(schema.get("minimum", -math.inf), -math.inf if over is None else over)
    highest = min(schema.get("maximum", math.inf), math.inf if under is None else under)
    if lowest < 0 < highest:
        return 0
    if not whole and "multipleOf" not in schema and math.isfinite(lowest) and math.isfinite(highest):
        return float(lowest + highest) / 2
    step = schema.get("multipleOf", 1)
    number = 0
    if lowest > 0:
        number = math.ceil(lowest / step) * step
    elif highest < 0:
        number = math.floor(highest / step) * step
    if number == over:
        number += step
    elif number == under:
        number -= step
    return int(number) if whole else number
