"""What a run file may say of training. Apart from the training, so that a run file is read without torch."""

from pydantic import Field

from trueseed.core.settings import Settings
from trueseed.lm.arithmetic import Arithmetic


class Optimizing(Settings):
    """learning_rate: at its peak. warmup_ratio: share of the steps that lead up to it; a cosine leads down to 0.
    weight_decay: on matrices, decoupled. max_grad_norm: of the gradient of the mean loss. save_steps: a checkpoint
    every so many steps.
    """

    learning_rate: float = 1e-4
    warmup_ratio: float = 0.1
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    save_steps: int = 25


class Lora(Settings):
    """rank: of each adapter. alpha: an adapter's output is scaled by alpha / rank."""

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0)


class Config(Optimizing):
    """Names and meanings are TRL's where TRL has them.

    num_train_epochs: passes over the records. max_steps: end earlier (0: do not). seed: order of the records, first
    values of adapters. max_length: records of more tokens are left out and counted. tokens_per_batch: tokens of the
    rows of one forward and backward pass, which bounds memory. gradient_accumulation_steps: passes a step. lora: null
    trains the whole network. freeze_embeddings: the table of tokens stays as it is, and with it an output head that is
    tied to it; of a small model that is a large part. freeze_layers: so many of the lowest layers stay as they are;
    with frozen embeddings nothing is carried back through them either. wise_ft_alpha: how far the student stands on the
    line from the base to the trained network (1: as trained; see `interpolation`). dtype: what is computed in (see
    `lm.arithmetic`).
    """

    num_train_epochs: int = Field(default=2, ge=1)
    max_steps: int = Field(default=0, ge=0)
    seed: int = 0
    max_length: int = Field(default=1024, ge=2)
    tokens_per_batch: int = Field(default=2048, ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    lora: Lora | None = None
    freeze_embeddings: bool = False
    freeze_layers: int = Field(default=0, ge=0)
    wise_ft_alpha: float = Field(default=1.0, gt=0, le=1)
    dtype: Arithmetic = "auto"
