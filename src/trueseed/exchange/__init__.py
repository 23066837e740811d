"""Records in and out: other people's datasets come in under a declared origin, ours leave with theirs written on them.

foreign      reads JSON lines, Parquet and Hugging Face folders, row by row
shapes       the chats in such rows, as TRL, axolotl and LLaMA-Factory write them
claims       what a row says of its own making: generator columns, sentences in which a model speaks of itself
known        what we hold or were told: answers of teachers, records of every workspace of this user
look         a dataset that was read and not taken in yet: what contradicts its origin
seen         the same for a plan: what the run would do with it
bring        the step that takes a dataset in, or stops
hand_out     the step that writes records for other tools
"""
