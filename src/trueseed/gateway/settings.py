"""What `gateway.yaml` says.

entity: us
upstreams:
  - source: deepseek/deepseek-chat@api
    price: {input: 0.27, output: 1.10}
limits:
  - {source: "deepseek/*", per: day, requests: 500}
"""

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field, model_validator

from trueseed.core.settings import Settings
from trueseed.teachers.account.limits import Limit
from trueseed.teachers.account.state import our_entity
from trueseed.teachers.api.providers import Endpoint


class Offered(Endpoint):
    """An upstream. features: of its service, those that every call is asked with, whatever it says (a model that
    searches by itself). surcharges: by feature, US dollars that a call which asks for it costs at most beside its
    tokens; what is not named is not forwarded when a request asks for it.
    """

    features: tuple[str, ...] = Field(default=(), strict=False)
    surcharges: dict[str, Annotated[float, Field(ge=0, strict=False)]] = Field(default={})

    def surcharge(self, features: Iterable[str]) -> int:
        """Micros."""
        return sum(round(self.surcharges.get(each, 0) * 1_000_000) for each in features)


class Config(Settings):
    """account: a database URL, by default `TRUESEED_ACCOUNT` or the user's own. entity: the legal entity whose accounts
    are asked, by default `TRUESEED_ENTITY`. max_tokens: longest answer, and the bound where a client gives none.
    in_flight: most calls at once. body_bytes: longest request. seal_every_s: how often the ledger hears of the calls.
    """

    account: str | None = None
    entity: str = Field(default_factory=our_entity)
    upstreams: tuple[Offered, ...] = Field(min_length=1, strict=False)
    limits: tuple[Limit, ...] = Field(default=(), strict=False)
    max_tokens: int = Field(default=4096, gt=0)
    in_flight: int = Field(default=256, gt=0)
    body_bytes: int = Field(default=4 << 20, gt=0)
    seal_every_s: float = Field(default=60.0, gt=0, strict=False)

    @model_validator(mode="after")
    def _each_once(self) -> "Config":
        sources = [upstream.source for upstream in self.upstreams]
        if twice := sorted({source for source in sources if sources.count(source) > 1}):
            # A second route under one name would be a way past the first one's limit.
            raise ValueError(f"{twice[0]!r} stands among the upstreams more than once")
        return self
