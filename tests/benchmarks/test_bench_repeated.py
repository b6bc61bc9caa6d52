"""Which cases are compared in which order, and that a stop loses none."""

from benchmarks.repeated_traces import (
    Case,
    Results,
    Verdict,
    cases,
    smallest_of_each_family_first,
    summary,
)


def test_the_smallest_of_each_family_comes_first():
    names = ["gpt2-medium", "bert-large-uncased", "gpt2", "bert-base-uncased"]
    expected = ["bert-base-uncased", "gpt2", "bert-large-uncased", "gpt2-medium"]
    assert smallest_of_each_family_first(names) == expected


def test_a_name_that_is_unknown_is_left_out(capsys):
    assert smallest_of_each_family_first(["gpt2", "no-such-model"]) == ["gpt2"]
    assert "no-such-model is left out" in capsys.readouterr().err


def test_a_head_alone_is_compared_without_checkpointing_only():
    found = list(cases(["gpt2"], ["lora", "feature_extraction"], ["none", "full"]))
    assert [(c.strategy, c.checkpointing) for c in found] == [
        ("lora", "none"),
        ("lora", "full"),
        ("feature_extraction", "none"),
    ]


def test_results_are_there_after_a_stop(tmp_path):
    first = Verdict("a", "lora", "full", "whole", "few blocks repeat, it says", 1.5)
    Results(tmp_path).add(first)
    Results(tmp_path).add(Verdict("b", "lora", "full", "equal", "{'x': [[3, 12]]}", 2.0))
    found = Results(tmp_path).found
    assert found[Case("a", "lora", "full")] == first
    assert len(found) == 2


def test_the_summary_counts_verdicts_and_reasons():
    text = summary(
        [
            Verdict("a", "lora", "none", "equal", "", 1.0),
            Verdict("b", "lora", "none", "refused", "b: no head", 1.0),
            Verdict("c", "lora", "none", "refused", "c: no head", 1.0),
        ]
    )
    assert text.splitlines()[0] == "2 refused, 1 equal"
    assert "2 refused  no head" in text
