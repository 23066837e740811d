"""Pages and their sections, as templates in which everything is escaped."""

from functools import cache
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from trueseed.report import wording

FILTERS = (
    wording.percent,
    wording.points,
    wording.signed,
    wording.count,
    wording.many,
    wording.duration,
    wording.p_value,
    wording.breakable,
    wording.figure,
)


def template(name: str) -> Template:
    """`page.html`, or another file of this folder."""
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_read)
    )
    environment.filters |= {each.__name__: each for each in FILTERS}
    return environment


def _read(name: str) -> str:
    return files("trueseed.report").joinpath(name).read_text(encoding="utf-8")
