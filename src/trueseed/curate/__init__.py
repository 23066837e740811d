"""Records become a dataset. One file per concern; each says for every record why it should go, or nothing.

pipeline     the order of the concerns, and the dataset they leave
redact       personal data (only when asked for); replaced by pseudonyms, the record stays
quality      too short or long, repetitive, a refusal, cut off, wrong by its own constraints
identity     gives away a model's or maker's name (only when declared)
duplicates   said before, exactly or nearly
overlap      shares words with the prompts of evaluation
balance      too many of one kind of constraint
split        training and validation
drop         what a concern says
"""
