"""What goes along with a student that is handed out: everything in it is read off the ledger, the terms and the scores.

dossier.py      what is known of a student
card.py         the model card of the Hugging Face hub
notices.py      what the terms of its sources demand to go along: texts, notices, names
export.py       the step that hands all of it out
"""
