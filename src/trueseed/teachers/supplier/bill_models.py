"""Which of our sources a maker means by a model's name: derived where the names are the same, told where not.

A maker bills by the name on the wire, often with a date (`gpt-4o-2024-08-06`), and knows no routes. So one bill is
about one route, and a name that is no source's own model name has to be told: `--model NAME=SOURCE`. Never guessed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from trueseed.errors import ConfigError
from trueseed.teachers.supplier.bill import Bill
from trueseed.teachers.supplier.books import Books
from trueseed.terms.model import parse_source

Told = Mapping[str, frozenset[str]]  # sources by the maker's name of the model


@dataclass(frozen=True, slots=True)
class Group:
    """What can be compared: names of the maker, and the sources of ours that they stand for, all on one route."""

    models: tuple[str, ...]
    sources: tuple[str, ...]

    def __str__(self) -> str:
        return " + ".join(self.models or self.sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose calls are compared. pattern: of our sources."""

    maker: str
    pattern: str = "*"

    def holds(self, source: str) -> bool:
        return parse_source(source).maker == self.maker and fnmatchcase(source, self.pattern)


def told(options: Iterable[str]) -> dict[str, frozenset[str]]:
    """`NAME=SOURCE`, as often as wanted. Raises `ConfigError`."""
    found: dict[str, frozenset[str]] = {}
    for option in options:
        name, equals, source = option.rpartition("=")
        if not equals or not name:
            raise ConfigError(f"--model {option!r} is not NAME=SOURCE, such as gpt-4o-2024-08-06=openai/gpt-4o@api")
        parse_source(source)
        found[name] = found.get(name, frozenset()) | {source}
    return found


def grouped(bill: Bill, books: Books, scope: Scope, given: Told) -> tuple[list[Group], list[str]]:
    """The groups, and what of the bill lies outside the scope. Raises `ConfigError` where one would have to guess."""
    ours = set(books.sources())
    meant: dict[str, frozenset[str]] = {}
    outside, strange = [], []
    for model in bill.models:
        sources = given.get(model) or frozenset(each for each in ours if parse_source(each).model == model)
        inside = frozenset(each for each in sources if scope.holds(each))
        if not sources:
            strange.append(model)
        elif not inside:
            outside.append(model)
        else:
            meant[model] = inside
    if strange:
        raise _untold(strange, scope, sorted(ours))
    named = frozenset[str]().union(*(sources for model, sources in given.items() if model not in meant))
    _one_route([*ours, *(source for sources in meant.values() for source in sources)], scope)
    groups = _joined(meant)
    left = sorted(ours - {source for group in groups for source in group.sources})
    for source in left:
        if source not in named and (billed := books.total([source], kind="billed").requests):
            raise ConfigError(
                f"the maker says nothing of {source!r}, which answered {billed} calls; say under which name it is "
                f"billed (--model NAME={source}), or leave it out (--source)"
            )
    return [*groups, *(Group((), (source,)) for source in left)], outside


def _joined(meant: Told) -> list[Group]:
    """Names that share a source are compared together."""
    groups: list[tuple[set[str], set[str]]] = []
    for model, sources in sorted(meant.items()):
        names, reached = {model}, set(sources)
        for other in [other for other in groups if other[1] & reached]:
            groups.remove(other)
            names, reached = names | other[0], reached | other[1]
        groups.append((names, reached))
    return sorted((Group(tuple(sorted(a)), tuple(sorted(b))) for a, b in groups), key=lambda group: group.models)


def _untold(models: list[str], scope: Scope, ours: list[str]) -> ConfigError:
    route = next((parse_source(source).route for source in ours), "api") or "api"
    known = ", ".join(repr(source) for source in ours) or f"none of {scope.maker!r}"
    example = f"{scope.maker}/MODEL@{route}"
    return ConfigError(
        f"the maker bills {', '.join(repr(model) for model in models)}; which of our sources that is cannot be derived "
        f"(asked were: {known}). Say it for each with --model NAME=SOURCE. For one that was never asked through "
        f"TrueSeed, name the source that it is ({example}): its calls are then calls made outside"
    )


def _one_route(sources: Iterable[str], scope: Scope) -> None:
    routes = sorted({parse_source(source).route for source in sources})
    if len(routes) > 1:
        raise ConfigError(
            f"{scope.maker!r} was asked on the routes {', '.join(routes)}, and one bill is about one of them; say "
            f"which with --source '{scope.maker}/*@{routes[0]}'"
        )
