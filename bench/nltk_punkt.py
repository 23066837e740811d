"""The sentence model that our IFEval checker reads, as lm-evaluation-harness's wants it, which would download it."""

from pathlib import Path


def punkt_for_nltk(folder: Path) -> Path:
    """As NLTK's `punkt_tab`, in a folder for NLTK_DATA."""
    import punkt

    model, place = punkt.load_model("english"), folder / "tokenizers" / "punkt_tab" / "english"
    place.mkdir(parents=True)
    place.joinpath("collocations.tab").write_text("\n".join("\t".join(pair) for pair in model.collocations))
    place.joinpath("sent_starters.txt").write_text("\n".join(model.sent_starters))
    place.joinpath("abbrev_types.txt").write_text("\n".join(model.abbrev_types))
    place.joinpath("ortho_context.tab").write_text("\n".join(f"{word}\t{n}" for word, n in model.ortho_context.items()))
    return folder
