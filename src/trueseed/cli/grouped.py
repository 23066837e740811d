"""Options that belong together, as one argument of a command: a dataclass whose members are declared as typer's are.

    @dataclass(frozen=True, kw_only=True)
    class On:
        task: Annotated[Path, typer.Option(help="…")]
        limit: Annotated[int | None, typer.Option()] = None

    @app.command()
    @grouped
    def measure(model: str, on: On) -> None: ...       # measure MODEL --task FILE --limit 3

A member without a default is an option that must be given.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the members of each dataclass in the place of that argument, as typer reads a signature."""
    taken = inspect.signature(command).parameters
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hints[name] for name in taken if is_dataclass(hints[name])}

    def flat() -> Iterator[inspect.Parameter]:
        for name, parameter in taken.items():
            if name in groups:
                yield from _members(groups[name])
            else:
                yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])

    @wraps(command)
    def run(**given: Any) -> None:
        made = {
            name: group(**{each.name: given.pop(each.name) for each in fields(group)}) for name, group in groups.items()
        }
        command(**given, **made)

    parameters = list(flat())
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _members(group: Any) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for each in fields(group):
        default = inspect.Parameter.empty if each.default is MISSING else each.default
        yield inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[each.name])
