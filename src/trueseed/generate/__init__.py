"""Prompts become records: a recipe decides what to ask a teacher and which answers to keep.

prompts      the project's own everyday tasks, or the user's file, brought into a workspace
verifiable   recipe: prompts with constraints that can be checked; right answers are kept
ladder       how a teacher is asked again, with more help each time
pace         which kind is asked next, and on which rung
formed       the teacher's words in the form that a constraint wants
rewriting    recipe: records said anew by a model, or put into another language
in_order     asking far ahead while deciding in a fixed order, so that a run can be repeated
"""
