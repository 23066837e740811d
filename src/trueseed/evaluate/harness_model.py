"""Weights that we hold, as a model of lm-evaluation-harness: its tasks run on the engine, in this process.

    lm_eval.simple_evaluate(model=Held(engine), tasks=[...])

Texts are cut into tokens by the harness's own rules (`TemplateLM`), so that a number here and one of its `hf` model
are about the same tokens. Nothing is cut short: a context too long for the model is an error, where `hf` drops its
beginning.
"""

from collections.abc import Sequence
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from trueseed.core.chat import Request
from trueseed.errors import ConfigError
from trueseed.lm.engine import Engine

MAX_GEN_TOKS = 256  # where a task does not say; as the harness has it


class Held(TemplateLM):  # type: ignore[misc]  # the harness is without types
    """Raises `ConfigError` for a text longer than the model's context."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine
        self.tokenizer = engine.format.tokenizer

    @property
    def eot_token_id(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        begins = self.tokenizer.bos_token_id
        return int(begins) if begins is not None else self.eot_token_id

    @property
    def tokenizer_name(self) -> str:
        return self._engine.source.replace("/", "__")

    def get_model_info(self) -> dict[str, str]:
        """What the harness writes beside its results."""
        return {"model_source": self._engine.source}

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """add_special_tokens: as the tokenizer does by itself when left out, but never a second beginning."""
        begins = self.tokenizer.bos_token
        again = add_special_tokens is None and bool(begins) and string.startswith(begins)
        return self._engine.format.raw(string, special=not again and add_special_tokens is not False)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return str(
            self.tokenizer.apply_chat_template(
                chat_history,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        )

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **_kwargs: Any
    ) -> list[tuple[float, bool]]:
        chats = [([*before, *text], [False] * len(before) + [True] * len(text)) for _, before, text in requests]
        found = []
        for (_, _, text), told in zip(requests, self._engine.told(chats, 1), strict=True):
            found.append((sum(told.logprobs), text == [best for [best] in told.likely]))
        return found

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:  # noqa: ARG002
        return [self._rolling(self.tok_encode(text)) for (text,) in (request.args for request in requests)]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002
        asked = [self._request(*request.args) for request in requests]
        found = dict(self._engine.answers(asked))
        return [found[position].text for position in range(len(asked))]

    def _request(self, context: str, how: dict[str, Any]) -> Request:
        said = normalize_gen_kwargs(how, MAX_GEN_TOKS)
        extra = set(said) - {"do_sample", "until", "max_gen_toks", "temperature", "top_p"}
        if extra:
            raise ConfigError(f"the engine cannot honour {', '.join(sorted(extra))} of the task's generation_kwargs")
        return Request(
            messages=(),
            continues=tuple(self.tok_encode(context)),
            max_tokens=said["max_gen_toks"],
            temperature=float(said.get("temperature", 1.0)) if said.get("do_sample") else 0.0,
            top_p=float(said.get("top_p", 1.0)),
            stop=tuple(said["until"]),
        )

    def _rolling(self, tokens: list[int]) -> float:
        """Every token once, in windows of the context's length."""
        windows = get_rolling_token_windows(
            token_list=tokens, prefix_token=self.prefix_token_id, max_seq_len=self._engine.context - 1, context_len=1
        )
        pieces = [(None, *make_disjoint_window(window)) for window in windows]
        return sum(logprob for logprob, _ in self._loglikelihood_tokens(pieces))
