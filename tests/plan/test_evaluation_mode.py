"""An evaluation runs in evaluation mode, and a plain loop that writes text does nothing beside."""

from planner.answer.estimate import estimate
from planner.devices.lookup import find_device
from planner.plan.decoding.cut import forward_only, inference
from planner.plan.inputs.defaults import choose
from planner.plan.inputs.problem import understand
from planner.question import Question

T5 = {"samples": 1000, "tokens_per_sample": 100, "target_tokens_per_sample": 30, "gpu": "t4"}


def attentions(trace):
    signatures = (trace.signatures[i] for i in trace.op_signature)
    return [one for one in signatures if "attention" in one.op]


def test_attention_drops_nothing_in_an_evaluation():
    asked = Question(
        model="bert-base-uncased", task="text_classification", classes=2, samples=100,
        tokens_per_sample=100, strategy="fine_tune", offline=True,
    )  # fmt: skip
    problem = understand(asked)
    made = choose(asked, problem.facts, problem.data, "fine_tune", find_device("t4"))
    trace = problem.source(made.recipe, problem.facts).at(B=8, S=100)
    trained, evaluated = attentions(forward_only(trace)), attentions(inference(trace))
    assert {one.attr("dropout") for one in trained} == {0.1}
    assert {one.attr("dropout") for one in evaluated} == {0.0}
    # nothing else of them changes
    assert [one.inputs for one in trained] == [one.inputs for one in evaluated]
    assert [one.attr("causal") for one in trained] == [one.attr("causal") for one in evaluated]


def test_a_loss_beside_the_text_is_the_trainers():
    def hours(stack, **fields):
        (option, *_) = estimate("t5-base", strategy="fine_tune", stack=stack, **T5, **fields)[
            "options"
        ]
        return option["run"]["breakdown_hours"]["evaluation"]

    writing = {"evaluation_batch": 8, "evaluation_samples": 80, "generated_tokens": 30.0}
    written = {s: hours(s, evaluation_generates=True, **writing) for s in ("trainer", "loop")}
    passes = hours("loop", evaluation_generates=False, evaluation_batch=8, evaluation_samples=80)
    assert written["trainer"] > written["loop"] > passes
    # what is between them is the forward pass with its loss
    assert abs(written["trainer"] - written["loop"] - passes) < 0.02 * written["trainer"]
