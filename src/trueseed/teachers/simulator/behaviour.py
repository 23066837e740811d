"""What the simulator will do, said beforehand: numbers and a seed, so that the same behaviour fails in the same places.

    Behaviour(latency_s=0.2, requests_per_minute=6000, suspend_at=500, faults=Faults(server_error=0.03, lost=0.02))

The same as YAML, for `python -m trueseed.teachers.simulator --behaviour file.yaml`:

    latency_s: 0.2
    requests_per_minute: 6000
    suspend_at: 500
    faults: {server_error: 0.03, lost: 0.02}
"""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from trueseed.core.settings import Settings

Unbilled = Literal["server_error", "overloaded", "rate_limited", "bad_gateway", "html", "dropped"]
Billed = Literal[
    "lost",
    "cut",
    "stalled",
    "malformed",
    "empty_choices",
    "missing_usage",
    "wrong_usage",
    "huge",
    "duplicated",
]
Fault = Literal[Unbilled, Billed]
BILLED: frozenset[Fault] = frozenset(get_args(Billed))

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Names = Annotated[tuple[str, ...], Field(strict=False)]  # a list in YAML and JSON


class Faults(Settings):
    """The share of admitted calls that end in each way; at most 1 together.

    Before an answer exists, so never billed:
    server_error: 500. overloaded: 503, at Anthropic 529. rate_limited: a 429 although there was room. bad_gateway: 502
    with a page in HTML. html: 200 with a page in HTML. dropped: the connection ends without a byte.

    After it exists, so always billed:
    lost: the connection ends without a byte. cut: it ends amid the answer. stalled: it falls silent amid the answer for
    `Behaviour.stall_s`, then goes on. malformed: the JSON is broken (of a stream, one event). empty_choices: none in a
    whole answer, and in all events of a stream. missing_usage: even where it was asked for. wrong_usage: the completion
    tokens said are twice those billed, and the total does not add up. huge: `huge_bytes` of blanks before the JSON.
    duplicated: every event of a stream but the last comes twice (nothing happens to a whole answer).
    """

    server_error: Share = 0
    overloaded: Share = 0
    rate_limited: Share = 0
    bad_gateway: Share = 0
    html: Share = 0
    dropped: Share = 0
    lost: Share = 0
    cut: Share = 0
    stalled: Share = 0
    malformed: Share = 0
    empty_choices: Share = 0
    missing_usage: Share = 0
    wrong_usage: Share = 0
    huge: Share = 0
    duplicated: Share = 0

    @model_validator(mode="after")
    def _a_part_of_all(self) -> "Faults":
        total = sum(share for _, share in self.shares())
        if total > 1 + 1e-9:
            raise ValueError(f"the shares are {total:g} together; make them at most 1")
        return self

    def shares(self) -> list[tuple[Fault, float]]:
        kinds: tuple[Fault, ...] = (*get_args(Unbilled), *get_args(Billed))
        return [(kind, share) for kind in kinds if (share := getattr(self, kind))]


class Behaviour(Settings):
    """One account at one provider. The defaults are a provider without latency, limits or faults.

    seed: decides the answers, the latencies and which calls fail. models: those that exist. keys: those that are valid,
    empty for any. admin_key: the one that reads the usage, empty for any.

    latency_s, latency_spread_s: a call takes from the first to the sum of both before its first byte. stream_gap_s:
    between two events of a stream. answer_words, answer_words_spread: an answer has from the first to the sum of both;
    a word is a token.

    requests_per_minute, tokens_per_minute: buckets that start full (`limits`); 0 is none. minute_s: a minute's length.
    rate_headers: `true`; `absent`; or `absurd`, the -1, -1 and 0 that Azure was seen to send, without `Retry-After`
    (openai-dotnet#838). retry_after: said in that header instead of the truth, as the 86400 of Azure (TinyLLM#17).
    quota_requests, quota_tokens: billed in total before the credit ends; 0 is none.

    suspend_at: the call of this number (from 1 since the last reset, of those with a valid key) is the first that is
    refused as the account is suspended; all after it too, until `lift`. 0 is never. disabled_status: the status of
    Anthropic's refusal then; both were seen. region_refused: the caller is in an unsupported country. context_tokens:
    longest prompt and answer, 0 for no bound. filtered: a prompt with this text in it meets the content filter; empty
    for none. served: the name that answers say, where it is not the one that was asked: an alias that its maker moved.

    echo_key: errors, pages and broken JSON say the caller's key in full, as a careless server might.

    stall_s: how long the fault `stalled` is silent. huge_bytes: what the fault `huge` sends.
    """

    seed: int = 0
    models: Names = ("simulated",)
    keys: Names = ()
    admin_key: str = ""

    latency_s: Seconds = 0
    latency_spread_s: Seconds = 0
    stream_gap_s: Seconds = 0
    answer_words: Count = 16
    answer_words_spread: Annotated[int, Field(ge=0)] = 16

    requests_per_minute: Annotated[int, Field(ge=0)] = 0
    tokens_per_minute: Annotated[int, Field(ge=0)] = 0
    minute_s: Annotated[float, Field(gt=0)] = 60
    rate_headers: Literal["true", "absent", "absurd"] = "true"
    retry_after: Annotated[str, Field(pattern=r"^[ -~]*$")] = ""
    quota_requests: Annotated[int, Field(ge=0)] = 0
    quota_tokens: Annotated[int, Field(ge=0)] = 0

    suspend_at: Annotated[int, Field(ge=0)] = 0
    disabled_status: Literal[400, 403] = 400
    region_refused: bool = False
    context_tokens: Annotated[int, Field(ge=0)] = 0
    filtered: str = ""
    served: str = ""

    echo_key: bool = False

    faults: Faults = Faults()
    stall_s: Seconds = 30
    huge_bytes: Annotated[int, Field(ge=0)] = 40 * 1024 * 1024
