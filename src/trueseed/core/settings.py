"""Settings of a stage: strict, frozen, complete. An unknown key is an error; the ledger stores them whole."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Root of every stage's `Config`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
