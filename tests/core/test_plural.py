from trueseed.core.plural import form, many


def test_one_is_singular_and_all_else_is_plural():
    assert [many(n, "verdict") for n in (0, 1, 2, 1200)] == ["0 verdicts", "1 verdict", "2 verdicts", "1,200 verdicts"]
    assert many(2, "entry", "entries") == "2 entries"
    assert [form(n, "has", "have") for n in (1, 3)] == ["has", "have"]
