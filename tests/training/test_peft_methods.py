"""PEFT's methods: what a trace says that they hold beside what real models of PEFT hold, and what
the table of methods says beside PEFT's own classes."""

from __future__ import annotations

import dataclasses
import importlib.util

import pytest

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("transformers", "peft")),
    reason="needs the extra hf",
)
#: One that changes weights, one that puts tokens before the text, one with scales alone.
QUICK = ("llama-dora", "llama-prompt", "bert-ia3")


def cases():
    from benchmarks.peft_methods import CASES

    for case in CASES:
        marks = () if case.name in QUICK else (pytest.mark.slow,)
        yield pytest.param(case, id=case.name, marks=marks)


@pytest.mark.parametrize("case", cases())
def test_a_trace_holds_what_a_real_model_holds(case, tmp_path):
    from benchmarks.peft_methods import compare

    found = compare(case, tmp_path)
    assert {name: plan for name, (plan, _) in found.items()} == {
        name: held for name, (_, held) in found.items()
    }
    assert found["gradients"][0] and found["kept"][0]


def test_every_method_is_compared_with_a_real_model():
    from benchmarks.peft_methods import CASES
    from planner.question.adapters import names

    assert {case.method for case in CASES} == set(names())


def config(method):
    from planner.libraries import import_library

    return getattr(import_library("peft", "testing"), method.config)


def methods():
    from planner.question.adapters import methods

    return list(methods().values())


#: A question's field → the argument of PEFT's classes that it becomes.
ARGUMENTS = {
    "lora_exclude": "exclude_modules",
    "lora_layers": "layers_to_transform",
    "lora_layers_pattern": "layers_pattern",
    "lora_modules_to_save": "modules_to_save",
    "lora_rank_pattern": "rank_pattern",
}


@pytest.mark.parametrize("method", methods(), ids=lambda method: method.name)
def test_a_row_says_what_peft_s_class_takes(method):
    fields = {field.name: field for field in dataclasses.fields(config(method))}
    assert not {name for name, _ in method.fixed} - set(fields)
    assert method.dropout is None or method.dropout in fields
    assert method.takes("lora_dropout") == (method.dropout is not None)
    if method.targets == "none":
        return
    taken = {own for own, argument in ARGUMENTS.items() if argument in fields}
    if method.name == "adalora":  # whose pattern is what it pruned
        taken -= {"lora_rank_pattern"}
    assert {own for own in ARGUMENTS if method.takes(own)} == taken
    assert method.takes("lora_alpha") == bool({"lora_alpha", "alpha"} & set(fields))


@pytest.mark.parametrize(
    "method", [m for m in methods() if m.default is not None], ids=lambda method: method.name
)
def test_a_default_size_is_peft_s_own_where_it_has_one(method):
    own = {field.name: field.default for field in dataclasses.fields(config(method))}
    assert own[method.argument] in (method.default, None)
    assert (own[method.argument] is None) == method.has_virtual_tokens


def recipe(**asked):
    from planner.question.setup import TracedSettings
    from planner.training.recipe import recipe_of

    settings = {
        "strategy": "lora",
        "task": "causal_lm",
        "precision": "bf16",
        "optimizer": "adamw_fused",
        "lora_rank": 16,
    }
    return recipe_of(TracedSettings(**settings | asked))


def test_only_a_method_with_lora_s_step_has_lora_s_trace():
    keys = {method.name: recipe(adapter=method.name).key() for method in methods()}
    assert recipe().key() == keys["lora"] == keys["rslora"] == keys["pissa"]
    others = [key for name, key in keys.items() if name not in ("lora", "rslora", "pissa")]
    assert len({*others, keys["lora"]}) == len(others) + 1


def test_a_recipe_holds_nothing_that_its_method_has_not():
    made = recipe(adapter="prompt", lora_targets=("q_proj",), lora_dropout=0.1)
    assert made.lora_rank is made.lora_targets is made.lora_dropout is None
    assert made.virtual_tokens == 20
    assert recipe(adapter="vera", virtual_tokens=7) == recipe(adapter="vera")


@pytest.mark.parametrize("name", ["rslora", "pissa"])
def test_a_method_with_lora_s_trace_has_lora_s_step(name, tmp_path):
    """PEFT's own configuration is applied for each."""
    from benchmarks.peft_methods import Case, facts_of, recipe_for
    from planner.trace.recorder.regimes import runner_for

    facts = facts_of("llama", tmp_path)
    steps = [
        runner_for(facts, recipe_for(Case("llama", method))).record_whole({"B": 2, "S": 16})
        for method in ("lora", name)
    ]
    assert steps[0].operations == steps[1].operations
    assert steps[0].storages == steps[1].storages
    operands = [[signature[:3] for signature in step.signatures] for step in steps]
    assert operands[0] == operands[1]  # a scale is another number


def test_more_virtual_tokens_lengthen_the_step(tmp_path):
    from benchmarks.peft_methods import Case, facts_of, planned_trace, recipe_for

    facts, made = facts_of("llama", tmp_path), recipe_for(Case("llama", "prompt"))
    rows = {}
    for tokens in (20, 44):
        trace = planned_trace(facts, dataclasses.replace(made, virtual_tokens=tokens))
        dims = trace.dims(B=3, S=40)
        rows[tokens] = {
            dims[output.shape[0]]
            for signature in trace.signatures
            for output in signature.outputs
            if signature.op == "aten.mm.default"
        }
    assert 3 * (40 + 20) in rows[20] and 3 * (40 + 44) in rows[44]
    assert 3 * (40 + 20) not in rows[44]
