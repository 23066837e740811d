"""Weights we hold: where they come from, how a chat becomes tokens, and the engine that answers with them."""
