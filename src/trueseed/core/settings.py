"""Settings: strict, frozen, complete. An unknown key is an error; the ledger stores them whole.

`read(path, Model)` reads a YAML file and says of every mistake the key, the line and the nearest valid key.
"""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Tag, ValidationError

from trueseed.core.redact import redact
from trueseed.errors import ConfigError


class Settings(BaseModel):
    """Root of every stage's `Config`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Model = TypeVar("Model", bound=Settings)
Location = tuple[str | int, ...]
_BOOL = "tag:yaml.org,2002:bool"


def read(path: Path, model: type[Model]) -> Model:
    """Reads and validates a YAML file. Raises `ConfigError` listing every mistake with its line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path} cannot be read ({err}); give the path of a YAML run file") from err
    try:
        tree = yaml.compose(text, Loader=_Loader)
        lines = dict(_lines(tree)) if tree else {}
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as err:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(err).split())}") from err
    except _DuplicateKeyError as err:
        raise ConfigError(f"{path}: {err}") from err
    if not isinstance(value, dict):
        raise ConfigError(f"{path} must hold keys and values, for example `project: my-first-student`")
    try:
        return model.model_validate(value)
    except ValidationError as err:
        found = sorted(err.errors(), key=lambda mistake: mistake["type"] == "missing")  # perhaps only misspelt above
        mistakes = [_sentence(path, lines, model, mistake) for mistake in found]
        raise ConfigError("\n".join(mistakes)) from err


def checked(model: type[Model], said: Mapping[str, Any]) -> Model:
    """Settings that were given one by one. Raises `ConfigError` listing every mistake."""
    try:
        return model.model_validate(dict(said))
    except ValidationError as err:
        told = (f"{'.'.join(map(str, each['loc'])) or 'settings'}: {each['msg']}" for each in err.errors())
        raise ConfigError("; ".join(told)) from err


class _Loader(yaml.SafeLoader):
    """Safe, and of YAML 1.2 in one thing: only true and false are truth values. To YAML 1.1 the key `on` is one, and so
    is the country `NO`.
    """


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != _BOOL or first in "tTfF"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _DuplicateKeyError(Exception):
    pass


def _lines(node: yaml.Node, at: Location = ()) -> Iterator[tuple[Location, int]]:
    """Line numbers (from 1) of every key and item, by its path."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise _DuplicateKeyError(f"line {line}: {key.value!r} was given before, on line {seen[key.value]}")
            seen[key.value] = line
            yield (*at, key.value), line
            yield from _lines(value, (*at, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*at, index), item.start_mark.line + 1
            yield from _lines(item, (*at, index))


def _sentence(path: Path, lines: dict[Location, int], model: type[Settings], mistake: Any) -> str:
    at, inside = _place(model, mistake["loc"])
    known = at
    while known and known not in lines:
        known = known[:-1]
    where = f"{path}, line {lines[known]}" if known else f"{path}"
    name = ".".join(str(part) for part in at)
    if mistake["type"] == "extra_forbidden":
        keys = list(inside.model_fields)
        return f"{where}: unknown key {name!r}; {_nearest(str(at[-1]), keys, 'keys')}"
    if mistake["type"] == "missing":
        return f"{where}: {name!r} is missing; add it"
    if mistake["type"] == "union_tag_invalid":
        said, valid = mistake["ctx"]["tag"], mistake["ctx"]["expected_tags"].replace("'", "").split(", ")
        key = next((key for key, value in mistake["input"].items() if value == said), "")
        line = lines.get((*at, key), lines.get(known))
        return f"{path}, line {line}: '{name}.{key}' is {said!r}; {_nearest(said, valid, 'ones')}"
    told = mistake["msg"].removeprefix("Value error, ")
    if isinstance(mistake["input"], Mapping):  # of the whole of it: the key that is wrong is named in what is told
        return f"{where}: {f'{name!r}: ' if name else ''}{told}"
    return f"{where}: {name!r} is {redact(repr(mistake['input']))}: {told}"


def _nearest(said: str, valid: list[str], what: str) -> str:
    near = difflib.get_close_matches(said, valid, n=1)
    return f"did you mean {near[0]!r}?" if near else f"valid {what}: {', '.join(valid)}"


def _place(model: type[BaseModel], at: Location) -> tuple[Location, type[BaseModel]]:
    """Where it stands in the file, without the names of a union's branches; and the model that its last key is in."""
    named: list[str | int] = []
    inside, branches = model, dict[str, type[BaseModel]]()
    for part in at:
        if part in branches:
            model, branches = branches[str(part)], {}
            continue
        named.append(part)
        inside = model
        if not isinstance(part, str) or part not in model.model_fields:
            continue  # an item of a list: stay where we are
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        found = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        model = found[0] if found else model
        branches = {tag.tag: kind for c in candidates for kind, tag in _tagged(c)}
    return tuple(named), inside


def _tagged(annotation: Any) -> Iterator[tuple[type[BaseModel], Tag]]:
    """A branch of a union that is told apart by its tag."""
    for tag in getattr(annotation, "__metadata__", ()):
        if isinstance(tag, Tag):
            yield annotation.__origin__, tag
