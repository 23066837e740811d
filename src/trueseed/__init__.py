"""TrueSeed grows a small language model from a large one, and proves that it was allowed to."""
