"""Recurrent and tabular models of our own, by name."""

import pytest
import torch

from planner.errors import UnknownNameError
from planner.models.building.build import build
from planner.models.names.own import rows
from planner.models.resolve import resolve
from planner.trace.recorder.regimes import record_regime
from planner.training.recipe import Recipe


@pytest.mark.parametrize("name", rows())
def test_parameters_are_as_stated_and_the_sizes_are_said(name):
    facts = resolve(f"own:{name}")
    built = build(facts)
    assert sum(p.numel() for p in built.module.parameters()) == facts.parameters
    assert any(line.topic == "model" and name in line.text for line in facts.first_lines)


def test_the_question_s_classes_reach_the_model():
    built = build(resolve("own:lstm-classifier"), classes=7)
    assert built.module.classifier.out_features == 7


def test_an_lstm_s_step_holds_one_recurrent_call_in_either_pass_at_any_length():
    facts = resolve("own:lstm-classifier")
    recipe = Recipe(strategy="fine_tune", task=facts.task, precision="amp_bf16", optimizer="adamw")
    family, exact = record_regime(facts, recipe, None, "b2", 64, None)
    trace = family.traces[0]
    names = [s.op for s in trace.signatures]
    assert not exact
    assert names.count("planner.rnn.default") == names.count("planner.rnn_backward.default") == 1
    assert len(names) < 100  # no operation a time step
    (call,) = [s for s in trace.signatures if s.op == "planner.rnn.default"]
    sizes = trace.dims(B=5, S=300)
    kept = [int(sizes[i]) for i in call.outputs[3].shape]
    assert kept == [2, 300, 5, 6 * 256]


def test_an_unknown_name_offers_near_ones():
    with pytest.raises(UnknownNameError, match="deepar"):
        resolve("own:deepr")


def test_a_tabular_transformer_learns():
    """The factory is a real model: some steps on real numbers lower its loss."""
    from planner.models.own.tabular import FTTransformer

    torch.manual_seed(0)
    model = FTTransformer(32, 1, 2)
    batch = {
        "numbers": torch.randn(64, 6),
        "categories": torch.zeros(64, 8, dtype=torch.long) + torch.arange(8) * 16,
    }
    labels = (batch["numbers"][:, 0] > 0).long()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        loss = model(**batch, labels=labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
