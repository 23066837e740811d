"""What a run file may say of training. Apart from the training, so that a run file is read without torch."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from trueseed.core.settings import Settings
from trueseed.lm.arithmetic import Arithmetic


class Optimizing(Settings):
    """learning_rate: at its peak. warmup_ratio: share of the steps that lead up to it; a cosine leads down to 0.
    weight_decay: on matrices, decoupled. max_grad_norm: of the gradient of the mean loss. save_steps: a checkpoint
    every so many steps. eval_steps: the loss on the validation records every so many steps and after the last; the
    weights with the lowest are kept (0: those of the last step are). early_stopping_patience: end after so many
    measurements in a row without a lower one (0: go on to the last step).
    """

    learning_rate: float = 1e-4
    warmup_ratio: float = 0.1
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    save_steps: int = Field(default=25, ge=1)
    eval_steps: int = Field(default=0, ge=0)
    early_stopping_patience: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _patience_is_counted_in_measurements(self) -> "Optimizing":
        if self.early_stopping_patience and not self.eval_steps:
            raise ValueError("`early_stopping_patience` counts measurements of the validation loss; add `eval_steps`")
        return self


class Lora(Settings):
    """rank: of each adapter. alpha: an adapter's output is scaled by alpha / rank."""

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0)


class Learning(Optimizing):
    """What every method is told. Names and meanings are TRL's where TRL has them.

    num_train_epochs: passes over the records. max_steps: end earlier (0: do not). seed: order of the records, first
    values of adapters. max_length: of a record, in tokens. too_long: a record of more (or of more than the network's
    context) is left out and counted (drop) or stops the run (refuse); it is never cut. tokens_per_batch: tokens of the
    rows of one forward and backward pass, which bounds memory. gradient_accumulation_steps: passes a step. lora: null
    trains the whole network. freeze_embeddings: the table of tokens stays as it is, and with it an output head that is
    tied to it; of a small model that is a large part. freeze_layers: so many of the lowest layers stay as they are;
    with frozen embeddings nothing is carried back through them either. wise_ft_alpha: how far the student stands on the
    line from the base to the trained network (1: as trained; see `interpolation`). dtype: what is computed in (see
    `lm.arithmetic`). parallel: with several processes (torchrun), `ddp` keeps everything whole in each of them, `fsdp`
    shares weights, gradients and moments out among them.
    """

    num_train_epochs: int = Field(default=2, ge=1)
    max_steps: int = Field(default=0, ge=0)
    seed: int = 0
    max_length: int = Field(default=1024, ge=2)
    too_long: Literal["drop", "refuse"] = "drop"
    tokens_per_batch: int = Field(default=2048, ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    lora: Lora | None = None
    freeze_embeddings: bool = False
    freeze_layers: int = Field(default=0, ge=0)
    wise_ft_alpha: float = Field(default=1.0, gt=0, le=1)
    dtype: Arithmetic = "auto"
    parallel: Literal["ddp", "fsdp"] = "ddp"


class Config(Learning):
    """Supervised fine-tuning: the student learns what the records answer."""

    method: Literal["sft"] = "sft"


class Distilling(Learning):
    """What every distillation of log-probabilities is told; names and meanings are those of TRL's GKDConfig.

    loss_top_k: how many of the teacher's most probable tokens are compared, the rest as one; 0: all of them.
    temperature: both distributions are taken at it. beta: 0 forward KL (teacher to student), 1 reverse KL, between them
    the generalised Jensen-Shannon divergence. ce_weight: how much cross-entropy on the records' own tokens is added.
    """

    loss_top_k: int = Field(default=32, ge=0)
    temperature: float = Field(default=1.0, gt=0)
    beta: float = Field(default=0.0, ge=0, le=1)
    ce_weight: float = Field(default=0.0, ge=0)


class Distil(Distilling):
    """The student learns how probable the teacher finds each token of the records.

    signals: `stored`, the teacher is heard once and its log-probabilities are kept; `memory`, it stays in memory and is
    heard at every step, which a `loss_top_k` of 0 needs. tail_draws: so many of the other tokens are drawn when the
    teacher is heard, each by its share of what the `loss_top_k` leave, and stand for all of these, so that the loss is
    the KL over the whole vocabulary on average (0: the others count as one). incomparable: a record whose tokens a
    server told nothing of, or spoke as others than the student reads, stops the run (refuse) or is left out and counted
    (drop).
    """

    method: Literal["distil"] = "distil"
    signals: Literal["stored", "memory"] = "stored"
    tail_draws: int = Field(default=0, ge=0, le=255)
    incomparable: Literal["refuse", "drop"] = "refuse"

    @model_validator(mode="after")
    def _what_is_stored_is_a_top_k(self) -> "Distil":
        if self.signals == "stored" and not self.loss_top_k:
            raise ValueError(
                "`loss_top_k: 0` compares the whole vocabulary, which is not stored; add `signals: memory`"
            )
        return self

    @model_validator(mode="after")
    def _draws_stand_for_the_tail(self) -> "Distil":
        if self.tail_draws and (self.signals != "stored" or self.beta or self.temperature != 1):
            raise ValueError(
                "`tail_draws` are stored (`signals: stored`), and tell the forward KL at temperature 1 alone: set "
                "`beta: 0` and `temperature: 1`, or `tail_draws: 0`"
            )
        return self


class OnPolicy(Distilling):
    """Generalised knowledge distillation (arXiv:2306.13649): the student learns from the teacher's view of what the
    student says itself.

    lmbda: share of the student's own answers; the rest are the records'. seq_kd: that rest is spoken anew by the
    teacher. max_new_tokens, sampling_temperature, sampling_top_p: of answers that are drawn in training.
    """

    method: Literal["on_policy"] = "on_policy"
    loss_top_k: int = Field(default=0, ge=0)
    beta: float = Field(default=0.5, ge=0, le=1)
    lmbda: float = Field(default=0.5, ge=0, le=1)
    seq_kd: bool = False
    max_new_tokens: int = Field(default=128, ge=1)
    sampling_temperature: float = Field(default=0.9, gt=0)
    sampling_top_p: float = Field(default=1.0, gt=0, le=1)


def method_of(said: Any) -> Any:
    """Of a mapping as a file has it, or of settings; who says nothing means supervised fine-tuning."""
    return said.get("method", "sft") if isinstance(said, dict) else getattr(said, "method", "sft")


Training = Annotated[
    Annotated[Config, Tag("sft")] | Annotated[Distil, Tag("distil")] | Annotated[OnPolicy, Tag("on_policy")],
    Discriminator(method_of),
]
