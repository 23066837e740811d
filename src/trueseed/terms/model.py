"""What terms are made of: sources, labels, documents, permissions, obligations, and the facts they are judged by.

Everything here is plain, frozen data; `rules` judges it and `catalog` reads it from files. What stands in a ledger is
found again by its digest, so a field that came later (`later`) is not written while it has its default.

>>> parse_source("openai/gpt-4@azure").route
'azure'
"""

import re
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from datetime import date
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from trueseed.core.canonical import digest
from trueseed.errors import ConfigError


def later(default: Any) -> Any:
    """A field that older documents and declarations do not have."""
    return field(default=default, metadata={"later": True})


class Use(StrEnum):
    """What may be asked of a source.

    train: what it says shapes a model's weights as text to learn from. train_internal_classifier: the same, for a
    classifier or embedding model that is not distributed. reward: its answers or scores pick, rank or filter what a
    model learns from. judge: it grades a model, and nothing is trained on the grades. benchmark_teacher: it is itself
    measured. publish_benchmark: that measure is made public. serve: people are given its words, or a model grown from
    it. publish: its words, or a model grown from it, are handed out.
    """

    TRAIN = "train"
    TRAIN_INTERNAL_CLASSIFIER = "train_internal_classifier"
    REWARD = "reward"
    JUDGE = "judge"
    BENCHMARK_TEACHER = "benchmark_teacher"
    PUBLISH_BENCHMARK = "publish_benchmark"
    SERVE = "serve"
    PUBLISH = "publish"


class Relation(StrEnum):
    """How a source reached an artifact: it wrote it, picked it, scored it, or its weights are inside it."""

    OUTPUT = "output"
    FILTER = "filter"
    SCORE = "score"
    WEIGHTS = "weights"


class Effect(StrEnum):
    """Where a step takes its inputs."""

    TRAIN = "train"
    SERVE = "serve"
    PUBLISH = "publish"
    NONE = "none"


_WORD = r"[a-z0-9][a-z0-9._:+-]*"
_OWN = re.compile(rf"own/({_WORD})")
_SOURCE = re.compile(rf"({_WORD})/({_WORD})@({_WORD})")


@dataclass(frozen=True, slots=True)
class Source:
    """`maker/model@route`; a person's own work, `own/<name>`, has the route ''."""

    maker: str
    model: str
    route: str

    def __str__(self) -> str:
        return f"{self.maker}/{self.model}" + (f"@{self.route}" if self.route else "")


def parse_source(text: str) -> Source:
    """Reads a source id. Raises `ConfigError`, with an example, when it is malformed."""
    if own := _OWN.fullmatch(text):
        return Source("own", own[1], "")
    if found := _SOURCE.fullmatch(text):
        return Source(*found.groups())
    lower = text.lower()
    nearest = (
        f"; did you mean {lower!r}?" if lower != text and (_OWN.fullmatch(lower) or _SOURCE.fullmatch(lower)) else ""
    )
    raise ConfigError(
        f"{text!r} is not a source{nearest}; write it in lower case as maker/model@route, for example "
        "'openai/gpt-4@azure' or 'huggingfacetb/smollm2-135m-instruct@weights', or own/<name> for a person's own work"
    )


@dataclass(frozen=True, slots=True, order=True)
class Label:
    """One source's mark on an artifact. terms: digest of the document in force when it was asked, '' if none was."""

    source: str
    relation: Relation
    terms: str

    def to_json(self) -> dict[str, str]:
        return {"source": self.source, "relation": self.relation.value, "terms": self.terms}

    @classmethod
    def from_json(cls, value: dict[str, str]) -> "Label":
        return cls(value["source"], Relation(value["relation"]), value["terms"])


StudentKind = Literal["chat", "classifier", "embedding"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Student:
    """The model that is grown. distributed: other parties get the weights, or are offered its use."""

    kind: StudentKind = "chat"
    distributed: bool = True
    name: str | None = None

    @property
    def is_internal_classifier(self) -> bool:
        """Predicts no text and stays inside: what OpenAI's texts except from their ban on competing models."""
        return self.kind != "chat" and not self.distributed


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """That a model may be offered to people in a market. reference: the paper that says so, as others can find it."""

    market: str
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the workspace declares and conditions are judged by. Countries are ISO 3166 codes; None: not declared.

    region: where the source is asked from. monthly_users: of everything our legal entity offers. country: where it is
    established. owners: countries of those who hold more than half of it, directly or not; () for not declared.
    research: nothing is done but research. approvals: markets that may be served. strict_upstream: sources that are
    declared to have learned from other models are refused. market: for which a step serves; of that step alone, never
    declared. project: that of the workspace, which is declared beside these facts.
    """

    student: Student = Student()
    region: str | None = None
    monthly_users: int | None = None
    commercial: bool = True
    country: str | None = later(None)
    owners: tuple[str, ...] = later(())
    research: bool = later(False)
    approvals: tuple[Approval, ...] = later(())
    strict_upstream: bool = later(False)
    market: str | None = later(None)
    project: str | None = later(None)

    def to_json(self) -> dict[str, Any]:
        return {str(name): value for name, value in plain(self).items()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Facts":
        """What `to_json` made. Raises `TypeError` or `KeyError` for anything else."""
        said = {**value, "student": Student(**value["student"]), "owners": tuple(value.get("owners", ()))}
        return cls(**{**said, "approvals": tuple(Approval(**each) for each in value.get("approvals", ()))})


_EU = "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE"
AREAS: dict[str, frozenset[str]] = {
    "EU": frozenset(_EU.split()),
    "EEA": frozenset(f"{_EU} IS LI NO".split()),
}


def within(country: str, places: tuple[str, ...]) -> bool:
    """Whether a country is one of `places`: countries, or `EU` or `EEA`.

    >>> within("FR", ("EU", "CH")), within("NO", ("EU", "CH"))
    (True, False)
    """
    return any(country == place or country in AREAS.get(place, ()) for place in places)


WORDS = (Relation.OUTPUT, Relation.FILTER, Relation.SCORE)  # what a source says, as opposed to what it is

ObligationKind = Literal[
    "name-begins-with",
    "name-begins-otherwise",
    "name-without",
    "notice-file",
    "ship-file",
    "display",
    "licensed-as",
    "pass-on-terms",
    "pass-on-restrictions",
    "mark-changes",
    "delete-on-termination",
    "regions",
    "users",
    "conduct",
]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Obligation:
    """Something that must be done. value: what a machine needs; text: for people.

    The value of name-begins-with, name-begins-otherwise and name-without is a word; of notice-file the sentence for the
    file `Notice`; of ship-file a file's name; of display the words to show; of licensed-as the one licence under which
    the student may be handed out, with nothing added to it; of pass-on-terms a document's id.
    """

    kind: ObligationKind
    value: str = ""
    text: str
    document: str
    clause: str = "unknown"

    def to_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """An obligation as a document states it: with the uses and relations that bring it about."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: ObligationKind
    value: str = ""
    text: str
    clause: str = "unknown"
    uses: tuple[Use, ...]
    relations: tuple[Relation, ...] = WORDS
    distributed: bool = False  # only when the student is distributed


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """What a document says of some uses. verdict 'conditional' permits when every condition given is met.

    clause: section number, or 'unknown'. because: our own paraphrase. settle_by: what would settle an unknown. The
    conditions: kinds of student; whether it is distributed; commercial; research and nothing else; monthly users;
    established_outside: countries (or `EU`, `EEA`) in which the operator must not be established.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    uses: tuple[Use, ...]
    relations: tuple[Relation, ...] = WORDS
    verdict: Literal["permit", "refuse", "conditional", "unknown"]
    clause: str = "unknown"
    because: str
    settle_by: str = ""
    distributed: bool | None = None
    commercial: bool | None = None
    monthly_users_at_most: int | None = None
    research: bool | None = later(None)
    students: tuple[StudentKind, ...] = later(())
    established_outside: tuple[str, ...] = later(())

    def unmet(self, facts: Facts) -> str:
        """The first condition that the facts do not meet, in words; '' when all are met.

        Undeclared monthly users count as below a cap: such caps bind a handful of companies, and the document's duty
        repeats the cap to everyone else. An undeclared country counts as none that is permitted.
        """
        if self.students and facts.student.kind not in self.students:
            return f"the student is a {facts.student.kind} model"
        if self.distributed not in (None, facts.student.distributed):
            return "the student is distributed" if facts.student.distributed else "the student is not distributed"
        if self.commercial not in (None, facts.commercial):
            return "the use is commercial" if facts.commercial else "the use is not commercial"
        if self.monthly_users_at_most is not None and (facts.monthly_users or 0) > self.monthly_users_at_most:
            return f"{facts.monthly_users} monthly users are more than {self.monthly_users_at_most}"
        if self.research not in (None, facts.research):
            return "more than research is done" if self.research else "nothing but research is done"
        if self.established_outside and facts.country is None:
            return "the operator's country is not declared"
        if facts.country is not None and within(facts.country, self.established_outside):
            return f"the operator is established in {facts.country}"
        return ""

    @property
    def has_conditions(self) -> bool:
        alternatives = (self.distributed, self.commercial, self.monthly_users_at_most, self.research)
        return any(each is not None for each in alternatives) or bool(self.students or self.established_outside)


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """Where the service may be asked from, and offered. Empty lists: the provider's list was not read.

    operators: it also binds where our legal entity is established. owners: and where those are who hold more than half
    of it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    text: str
    clause: str = "unknown"
    supported: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()
    operators: bool = later(False)
    owners: bool = later(False)

    def serves(self, country: str) -> bool:
        """False only where a list was read and says so."""
        return not within(country, self.unsupported) and (not self.supported or within(country, self.supported))

    def names(self, country: str | None) -> bool:
        """Whether a list that was read names the country."""
        return country is not None and within(country, self.supported)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """What a source is declared to have learned from: shown always, refused where `strict_upstream` is declared."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    source: str
    teacher: str

    def is_of(self, source: str) -> bool:
        """Whatever the route: a host's copy of a model learned from the same."""
        return fnmatchcase(source.partition("@")[0], self.source.partition("@")[0])


Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64}|unknown)$")]
Day = date | Literal["unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """That a document is a provider's written permission: a contract between it and the operator, which binds in place
    of what that provider's own general texts refuse or leave open, and of nobody else's.

    evidence: the file, in the workspace, by the digest that `text_sha256` names. project: for which alone it holds; ''
    for every one. lasting: what was asked while it held may be used so ever after; else no use is permitted past its
    last day, whenever the answer was asked.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    evidence: Annotated[str, Field(pattern=r"^evidence/[0-9a-f]{64}\.[a-z0-9]{1,7}$")]
    project: str = ""
    lasting: bool = False


Reading = Literal["shipped", "operator", "contract"]


@dataclass(frozen=True, kw_only=True)
class Document:
    """One version of one text, read by someone. Its digest is the terms digest on labels and records.

    sources: patterns (`*` matches within a source id) of what it governs. effective_until: the day it was superseded,
    itself outside. verification: primary (the text was read), transcription (quoted by others), secondary (reported),
    unread, own (the user's own work); nothing but primary and own permits. incorporates: documents that bind together
    with this one, each while in force; a use this text is silent on is left to them. reported: what others say of a
    text that was not read.

    features: it binds only answers asked with one of them, and together with the general text; `text`, plain answers,
    makes it a general one. silent_on: it was read for these uses and says nothing of them. model_routes: a host's text,
    beside which the terms of each model bind too, on those of these routes on which they are known. binds_earlier: it
    says of itself that it also binds what was asked before it. letter: it is a provider's written permission.

    reading, companions, beside and letters are set by the catalog, never by a file. reading: operator, in place of a
    shipped document (in older ledgers, any document of the operator's); contract, beside the shipped ones. beside:
    contracts of others that must permit as well, each by itself. letters: permissions that a reviewer relied on.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    id: str
    provider: str
    document: str
    version: str
    route: str
    features: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    effective_from: Day
    effective_until: date | None = None
    observed_at: Day
    text_sha256: Sha256
    where_read: str
    url: str = ""
    verification: Literal["primary", "transcription", "secondary", "unread", "own"]
    reported: str = ""
    settle_by: str = ""
    notes: str = ""
    on_termination: str
    reaches_models_trained_on_output: str
    incorporates: tuple[str, ...] = ()
    silent_on: tuple[Use, ...] = later(())
    regions: Regions | None = None
    permissions: tuple[Permission, ...] = ()
    duties: tuple[Duty, ...] = ()
    upstream: tuple[Upstream, ...] = ()
    reading: Reading = "shipped"
    companions: tuple["Document", ...] = ()
    model_routes: tuple[str, ...] = later(())
    binds_earlier: bool = later(False)
    beside: tuple["Document", ...] = later(())
    letter: Letter | None = later(None)  # noqa: RUF009
    letters: tuple["Document", ...] = later(())

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON, companions included; `catalog.from_json(document.to_json()) == document`."""
        return {str(name): value for name, value in plain(self).items()}

    @cached_property
    def digest(self) -> str:
        return digest(self.to_json())

    @property
    def was_read(self) -> bool:
        return self.verification in ("primary", "own")

    @property
    def is_general(self) -> bool:
        return not self.features or "text" in self.features

    @property
    def whose(self) -> str:
        """Of a text that was not shipped, in words; '' for a shipped one."""
        if self.letter is not None:
            return f"written permission of {self.provider} ({self.version}; evidence {self.text_sha256[:12]})"
        match self.reading:
            case "operator":
                return "the operator's own reading"
            case "contract":
                return "the operator's own document"
        return ""

    @property
    def texts(self) -> tuple["Document", ...]:
        """All that are put together in this one, letters last."""
        contracts = (self, *self.beside)
        return (*(text for contract in contracts for text in (contract, *contract.companions)), *self.letters)

    def closeness(self, source: str) -> int:
        """Characters that the nearest matching pattern spells out; 0 when none matches."""
        return max((len(p.replace("*", "")) for p in self.sources if fnmatchcase(source, p)), default=0)

    def governs(self, source: str) -> bool:
        return self.closeness(source) > 0

    def in_force(self, at: date) -> bool:
        begun = self.effective_from == "unknown" or self.effective_from <= at
        return begun and (self.effective_until is None or at < self.effective_until)

    def permission(self, use: Use, relation: Relation) -> Permission | None:
        """What this text alone says; None when it is silent."""
        for permission in self.permissions:
            if use in permission.uses and relation in permission.relations:
                return permission
        return None

    def obligations(self, use: Use, relation: Relation, student: Student) -> tuple[Obligation, ...]:
        return tuple(
            Obligation(kind=duty.kind, value=duty.value, text=duty.text, document=self.id, clause=duty.clause)
            for duty in self.duties
            if use in duty.uses and relation in duty.relations and (student.distributed or not duty.distributed)
        )


def plain(value: Any) -> Any:
    """A dataclass as JSON types: dates as ISO 8601, tuples as lists, without later fields that have their default."""
    if is_dataclass(value) and not isinstance(value, type):
        said = [(each, getattr(value, each.name)) for each in fields(value)]
        return {each.name: plain(it) for each, it in said if not each.metadata.get("later") or it != each.default}
    match value:
        case list() | tuple():
            return [plain(item) for item in value]
        case StrEnum():
            return value.value
        case date():
            return value.isoformat()
    return value
