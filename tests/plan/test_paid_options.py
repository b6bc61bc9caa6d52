"""Ways that are paid by the token, and serving what was tuned, end to end on shipped traces."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import estimate
from planner.answer.limits import broken_limits
from planner.answer.schema import Answer
from planner.cli import main
from planner.errors import PlannerError, QuestionError, UnknownNameError
from planner.models.resolve import resolve
from planner.plan.by_token.api_models import named, same_model
from planner.plan.decoding.cache import kv_bytes_per_token
from planner.question import PAID_STRATEGIES, TRAINING_STRATEGIES

SMALL = {"samples": 2000, "tokens_per_sample": 300, "gpu": "h100-sxm"}
REQUESTS = {"requests_per_month": 10_000, "prompt_tokens": 500, "output_tokens": 100}
SEARCHED = {"corpus_tokens": 5e6, "retrieved_tokens": 2000}


def ask(strategy=None, **fields):
    return estimate("Llama-3.2-1B", strategy=strategy, **(SMALL | REQUESTS | fields))


def only(strategy, **fields):
    return ask(strategy, **fields)["options"][0]


@pytest.fixture(scope="module")
def everything():
    return ask(**SEARCHED)


def test_all_strategies_are_compared_where_requests_are_asked_for(everything):
    Answer.model_validate(json.loads(json.dumps(everything)))
    assert {o["strategy"] for o in everything["options"]} == {
        *TRAINING_STRATEGIES,
        *PAID_STRATEGIES,
    }
    assert everything["question"]["strategy"] == [*TRAINING_STRATEGIES, *PAID_STRATEGIES]


def test_without_requests_everything_is_as_before():
    answer = estimate("Llama-3.2-1B", **SMALL)
    assert {o["strategy"] for o in answer["options"]} == set(TRAINING_STRATEGIES) and answer[
        "break_even"
    ] is None
    assert all(o["serving"] is None and "project_usd" not in o["cost"] for o in answer["options"])


def test_parts_of_every_cost_sum(everything):
    for option in everything["options"]:
        cost = option["cost"]
        assert sum(cost["breakdown"].values()) == pytest.approx(cost["usd"]["p50"], rel=1e-9)
        if option["serving"]:
            assert cost["project_usd"]["p50"] == pytest.approx(
                cost["usd"]["p50"] + 12 * option["serving"]["usd_per_month"]["p50"]
            )
            assert (
                option["serving"]["busy_gpu_hours_per_month"]
                <= option["serving"]["gpu_hours_per_month"]
            )
            assert (
                option["serving"]["usd_per_month_when_busy"]
                <= option["serving"]["usd_per_month"]["p50"]
            )
        elif cost["project_usd"]:
            assert cost["project_usd"]["p50"] == pytest.approx(
                cost["up_front_usd"] + 12 * cost["usd_per_month"]
            )


def test_every_price_says_where_it_is_from_and_when(everything):
    for option in everything["options"]:
        if option["strategy"] in PAID_STRATEGIES:
            assert (
                option["gpu"] is None
                and option["memory"] is option["step"] is option["run"] is None
            )
            assert (
                option["cost"]["price_source"]
                and option["cost"]["price_date"]
                and option["cost"]["offer"]["age_days"] >= 0
            )
            own = f"{option['strategy']} ({option['variant']})"
            assert option["provider"] and (
                option["assumptions"] or any(own in line for line in everything["assumptions"])
            )


def test_prompting_by_hand():
    """gpt-4.1-mini at $0.40 and $1.60 a million, cached input at $0.10: 10,000 requests a month for
    a year."""
    cost = only("prompting", api_model="gpt-4.1-mini")["cost"]
    assert (
        cost["usd"]["p50"]
        == cost["breakdown"]["api"]
        == pytest.approx(12 * 10_000 * (500 * 0.4 + 100 * 1.6) / 1e6)
    )
    shown = only("prompting", api_model="gpt-4.1-mini", few_shot_examples=3, cached_share=0.5)[
        "cost"
    ]
    assert shown["usd"]["p50"] == pytest.approx(
        12 * 10_000 * ((500 + 900) * (0.4 + 0.1) / 2 + 100 * 1.6) / 1e6
    )


def test_a_request_is_as_long_as_the_data_says_without_the_answer():
    option = estimate(
        "Llama-3.2-1B",
        strategy="prompting",
        requests_per_month=1000,
        output_tokens=100,
        api_model="gpt-4.1-mini",
        **SMALL,
    )["options"][0]
    assert option["cost"]["usd"]["p50"] == pytest.approx(12 * 1000 * (200 * 0.4 + 100 * 1.6) / 1e6)
    assert any("mean sample" in line for line in option["assumptions"])


def test_rag_costs_more_a_request_than_prompting_with_the_same_model():
    plain, searched = (only(s, api_model="gpt-4.1-mini", **SEARCHED) for s in ("prompting", "rag"))
    assert searched["cost"]["usd_per_request"] - plain["cost"]["usd_per_request"] >= 2000 * 0.4e-6
    store = searched["vector_store"]
    assert (
        store["vectors"] == pytest.approx(5e6 / 400, rel=1e-3)
        and store["memory_bytes"] == store["vectors"] * store["dimensions"] * 6
    )
    assert (
        searched["cost"]["breakdown"]["storage"] > 0
        and searched["cost"]["up_front_usd"] > store["embedding_usd"] > 0
    )


def test_fine_tuning_as_a_service_trains_and_answers_at_the_tuned_models_price():
    option = only(
        "provider_fine_tune", api_model="openai:gpt-4.1-mini", epochs=3, evaluations_per_epoch=0
    )
    trained = 2000 * 300 * 3 * 5e-6
    assert option["cost"]["up_front_usd"] == pytest.approx(trained)
    assert option["cost"]["usd"]["p50"] == pytest.approx(
        trained + 12 * 10_000 * (500 * 0.8 + 100 * 3.2) / 1e6
    )
    assert (
        any("undated" in line for line in option["warnings"])
        and option["cost"]["price_date"] is None
    )


def test_what_nobody_states_is_left_out_and_said():
    options = ask("provider_fine_tune")["options"]
    together = next(o for o in options if o["provider"] == "together")
    assert together["cost"]["project_usd"] is None and any(
        "not in the cost" in line for line in together["warnings"]
    )
    fireworks = next(o for o in options if o["provider"] == "fireworks")
    # a deployment of its own on an H100 at $8 an hour
    assert fireworks["cost"]["usd_per_month"] >= 730 * 8 * 0.99


def test_without_requests_a_request_is_priced():
    option = estimate(
        "Llama-3.2-1B",
        strategy="prompting",
        prompt_tokens=500,
        output_tokens=100,
        api_model="gpt-4.1-mini",
        **SMALL,
    )["options"][0]
    assert option["cost"]["usd"]["p50"] == 0 and option["cost"]["usd_per_request"] == pytest.approx(
        360e-6
    )
    assert option["cost"]["project_usd"] is None and any(
        "--requests-per-month" in line for line in option["warnings"]
    )


def test_without_a_named_model_this_very_model_and_the_cheapest_are_shown():
    answer = ask("prompting")
    options = answer["options"]
    assert len(options) == 3 and same_model(options[0]["cost"]["offer"]["model"], "Llama-3.2-1B")
    (line,) = [line for line in answer["assumptions"] if "no --api-model given" in line]
    assert line.startswith("all options: ")


@settings(max_examples=15, deadline=None)
@given(
    st.floats(1, 1e9),
    st.floats(1, 1e9),
    st.sampled_from(["prompting", "rag", "provider_fine_tune", "lora"]),
)
def test_more_requests_never_cost_less(one, other, strategy):
    few, many = (
        ask(
            strategy,
            api_model=None if strategy == "lora" else "openai:gpt-4.1-mini",
            requests_per_month=load,
            **SEARCHED,
        )["options"][0]["cost"]
        for load in sorted((one, other))
    )
    assert many["project_usd"]["p50"] >= few["project_usd"]["p50"] * (1 - 1e-9)


def test_break_even_names_options_of_the_answer(everything):
    part = everything["break_even"]
    names = (
        {c["option"] for c in part["cheapest"]}
        | {c["cheaper_below"] for c in part["crossings"]}
        | {c["cheaper_above"] for c in part["crossings"]}
    )
    known = {
        ", ".join(filter(None, (o["strategy"], o["variant"])))
        + (f" on {o['gpu']}" if o["gpu"] else "")
        for o in everything["options"]
    }
    assert (
        part["months"] == 12
        and names <= known
        and part["cheapest"][0]["option"].startswith("prompting")
    )
    loads = [c["from_requests_per_month"] for c in part["cheapest"]]
    assert loads == sorted(loads) and part["crossings"]


def test_data_that_must_stay_leaves_no_provider():
    answer = ask(data_must_stay=True)
    assert {o["strategy"] for o in answer["options"]} == set(TRAINING_STRATEGIES)
    assert sum("must not be sent" in line for line in answer["warnings"]) == len(PAID_STRATEGIES)
    with pytest.raises(QuestionError, match="must not be sent"):
        ask("prompting", data_must_stay=True)


def test_all_strategies_without_an_answers_length_leave_out_what_needs_it():
    answer = estimate("Llama-3.2-1B", requests_per_month=1000, **SMALL)
    assert {o["strategy"] for o in answer["options"]} == {
        *TRAINING_STRATEGIES,
        "provider_fine_tune",
    }
    assert any("prompting is left out: --output-tokens" in line for line in answer["warnings"])
    trained = [line for line in answer["warnings"] if "serving it is left out: --output" in line]
    assert len(trained) == 1 and "lora, qlora, distillation, scratch: " in trained[0]
    tuned = [o for o in answer["options"] if o["strategy"] == "provider_fine_tune"]
    assert all(
        any("--output-tokens" in line for line in [*o["warnings"], *answer["warnings"]])
        for o in tuned
    )


@pytest.mark.parametrize(
    "fields, complaint",
    [
        ({"strategy": "rag"}, "corpus_tokens"),
        ({"strategy": "prompting", "output_tokens": None}, "output_tokens"),
        ({"strategy": "prompting", "api_model": "no-such-model-9"}, "unknown API model"),
        ({"strategy": "prompting", "api_model": "llama"}, "models"),
        ({"strategy": "provider_fine_tune", "api_model": "gemma-1"}, "API model"),
        ({"strategy": "rag", "vector_store": "pinecon", **SEARCHED}, "pinecone"),
        ({"strategy": "rag", "embedding_model": "voyage/voyage-3.5", **SEARCHED}, "vectors"),
        ({"strategy": "prompting", "api_model": "prompt-guard-2-22m"}, "cannot be prompted"),
    ],
)
def test_what_cannot_be_priced_is_one_helpful_line(fields, complaint):
    with pytest.raises(PlannerError, match=complaint) as caught:
        ask(**fields)
    assert "\n" not in str(caught.value)


def test_images_are_not_priced_by_the_token():
    answer = estimate("resnet50", samples=1000, gpu="l4", requests_per_month=1000)
    assert not {o["strategy"] for o in answer["options"]} & set(PAID_STRATEGIES) and any(
        "prompting is left out" in w for w in answer["warnings"]
    )
    assert all(o["serving"] for o in answer["options"] if o["fits"])


def test_names_of_models_whoever_serves_them():
    assert same_model(
        "Llama-3.1-8B", "deepinfra/meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo"
    ) and not same_model("Llama-3.1-8B", "Llama-3.1-70B")
    assert {row.provider for row in named("openai:gpt-4.1")} == {"openai"} and named("gpt-4.1")[
        0
    ].model == "gpt-4.1"
    with pytest.raises(UnknownNameError):
        named("nobody:gpt-4.1")


# ---------------------------------------------------------------- serving


def test_keys_and_values_of_llama_3_8b():
    """2 × 32 layers × 8 heads × 128 × 2 B: 128 KiB a token."""
    assert kv_bytes_per_token(resolve("Llama-3.1-8B").config, 2) == 128 * 1024
    assert (
        kv_bytes_per_token({"n_layer": 12, "n_head": 12, "n_embd": 768}, 2) == 2 * 12 * 768 * 2
        and kv_bytes_per_token({}, 2) is None
    )


def test_one_request_at_a_time_reads_the_weights_for_each_token():
    """Decoding can be no faster than reading 16-bit weights at the datasheet's bandwidth (H100 SXM,
    3.35 TB/s), and is near it."""
    option = estimate("Llama-3.1-8B", strategy="lora", concurrent_requests=1, **(SMALL | REQUESTS))[
        "options"
    ][0]
    least = 2 * 8.03e9 / 3.35e12
    assert least < option["serving"]["token_seconds"]["p50"] < 2 * least


def test_many_at_once_serve_more_on_one_device():
    one, many = (
        only("lora", requests_per_month=1e8, concurrent_requests=count)["serving"]
        for count in (1, 64)
    )
    assert many["gpus"] < one["gpus"] and many["token_seconds"]["p50"] > one["token_seconds"]["p50"]


def test_a_model_that_one_device_does_not_hold_is_not_served():
    option = estimate(
        "Llama-3.1-8B",
        strategy="qlora",
        samples=100,
        tokens_per_sample=128,
        gpu="rtx-5080",
        **REQUESTS,
    )["options"][0]
    assert (
        option["fits"]
        and option["serving"] is None
        and any("serving it is left out" in line for line in option["warnings"])
    )


def test_the_budget_is_that_of_the_project():
    answer = ask("lora", max_usd=100)
    assert (
        answer["options"][0]["cost"]["usd"]["p50"]
        < 100
        < answer["options"][0]["cost"]["project_usd"]["p50"]
    )
    assert broken_limits(answer)


def test_a_whole_project_needs_neither_torch_nor_pandas():
    code = (
        "import sys; from planner import estimate; estimate('Llama-3.2-1B', samples=100, "
        "tokens_per_sample=300, gpu='h100-sxm', requests_per_month=1e4,"
        "output_tokens=50, corpus_tokens=1e6, retrieved_tokens=500); print([m for m in "
        "('torch', 'transformers', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_line_from_end_to_end(capsys):
    asked = [
        "estimate",
        "Llama-3.2-1B",
        "--samples",
        "2k",
        "--tokens-per-sample",
        "300",
        "--gpu",
        "h100-sxm",
        "--requests-per-month",
        "10k",
        "--output-tokens",
        "100",
        "--strategy",
        "all",
    ]
    assert main.run(asked) == 0
    out = capsys.readouterr().out
    assert (
        all(word in out for word in ("start", "Over 12", "months"))
        and "Break-even" in out
        and "requests a month" in out
    )
    assert main.run([*asked, "--json"]) == 0
    Answer.model_validate(json.loads(capsys.readouterr().out))
    assert main.run([*asked[:-2], "--strategy", "prompting", "--data-must-stay"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
