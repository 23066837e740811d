"""What goes along with a student that is handed out: everything in it is read off the ledger, the terms and the scores.

dossier.py        what is known of a student
corpus.py         what its datasets hold, counted off their records
card.py           the model card of the Hugging Face hub
dataset_card.py   the hub's card of a dataset
bom.py            the bill of materials: CycloneDX with a model card
croissant.py      a dataset as Croissant, with the origin of every record
summary.py        the EU's public summary of training content
measured.py       what our measures are called in papers
notices.py        what the terms of its sources demand to go along: texts, notices, names
signature.py      a signature over the folder: OpenSSF model-signing
export.py         the step that hands all of it out
"""
