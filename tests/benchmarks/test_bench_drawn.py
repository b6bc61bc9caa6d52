"""Architectures drawn by seed: what is counted, written and kept."""

from benchmarks import drawn_architectures
from benchmarks.drawn_architectures import (
    Drawn,
    Outcome,
    _key,
    answers,
    document,
    kept_outcomes,
    summary,
)


def test_the_summary_counts_a_group_and_lists_its_refusals():
    text = summary(
        [
            (Drawn("timm", "timm:a"), Outcome("fine")),
            (Drawn("timm", "timm:b"), Outcome(refusal="no")),
        ]
    )
    assert "timm: 1 of 2 answered" in text
    assert "timm:b" in text and "timm:a" not in text


def test_the_page_counts_a_group_and_says_why_one_is_refused():
    text = document(
        [
            (Drawn("timm", "timm:a"), Outcome("fine", waited=1.25)),
            (Drawn("timm", "timm:b"), Outcome(refusal="a | b", waited=2.0)),
            (Drawn("detection", "torchvision:c"), Outcome("fine")),
        ],
        "python benchmarks/drawn_architectures.py --seed 1 --write page.md",
    )
    assert "| timm | 2 | 1 | 1 |" in text and "| detection | 1 | 1 | 0 |" in text
    assert "| timm | timm:b | no | a / b | 2.0 |" in text
    assert "--seed 1" in text


def test_what_was_answered_is_kept_and_what_was_refused_is_asked_again(tmp_path, monkeypatch):
    file = tmp_path / "kept.jsonl"
    fine, refused = Drawn("timm", "timm:a"), Drawn("timm", "timm:b")
    kept_outcomes(file).put(_key(fine), Outcome("fine"))
    kept_outcomes(file).put(_key(refused), Outcome(refusal="no"))
    asked = []

    class Here:
        def __init__(self, work, limit):
            pass

        def __call__(self, item):
            asked.append(item)
            return Outcome("mended"), None

        def end(self):
            pass

    monkeypatch.setattr(drawn_architectures, "Worker", Here)
    found = dict(answers([fine, refused], kept_outcomes(file), limit=1.0))
    assert asked == [refused]
    assert found == {fine: Outcome("fine"), refused: Outcome("mended")}
    assert kept_outcomes(file).get(_key(refused)) == Outcome("mended")


class NoneIsBuilt:
    """A worker whose library builds one of its models alone."""

    def __init__(self, work, limit):
        pass

    def __call__(self, item):
        if item.name == "a:A":
            return Outcome(no_model="TypeError: None"), None
        return Outcome("fine"), None

    def end(self):
        pass


def test_another_is_drawn_for_one_of_which_its_library_builds_no_model(monkeypatch):
    monkeypatch.setattr(drawn_architectures, "Worker", NoneIsBuilt)
    drawn = [Drawn("transformers", "a:A"), Drawn("transformers", "b:B")]
    more = [Drawn("transformers", "c:C"), Drawn("transformers", "d:D")]
    found = list(answers(drawn, kept_outcomes(None), 1.0, more))
    assert [each.name for each, _ in found] == ["a:A", "c:C", "b:B"]
    text = summary(found)
    assert "transformers: 2 of 2 answered" in text
    assert "| transformers | 2 | 2 | 0 |" in document(found, "asked so")
    assert "| none | passed over:" in document(found, "asked so")
