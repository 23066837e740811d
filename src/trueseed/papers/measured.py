"""What the sets of an evaluation are called in papers: (in words, the field's name of the metric), by our name."""

SETS = {
    "held_out_prompts": ("held-out prompts, share right", "accuracy"),
    "held_out_kinds": ("held-out kinds of constraint, share right", "accuracy"),
    "chat_perplexity": ("perplexity on the teacher's free answers", "perplexity"),
}
