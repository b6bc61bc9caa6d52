"""What a project pays beside the hours, through the whole answer."""

import pytest

from planner.answer.estimate import estimate
from planner.answer.schema import Answer
from planner.errors import QuestionError
from planner.question import Question

ASKED = {"samples": 20_000, "tokens_per_sample": 200.0, "strategy": "lora", "gpu": "a100-sxm-40"}


def one(**fields):
    document = estimate("gpt2", **(ASKED | fields))
    Answer.model_validate(document)
    return document["options"][0]


@pytest.fixture(scope="module")
def plain():
    return one(provider="gcp")


def test_labels_trials_and_failures_are_lines_of_the_bill(plain):
    labelled = one(provider="gcp", usd_per_label=0.1)
    assert labelled["cost"]["breakdown"]["data"] == pytest.approx(2000) and labelled["cost"]["usd"][
        "p50"
    ] == pytest.approx(plain["cost"]["usd"]["p50"] + 2000)
    assert one(provider="gcp", usd_per_label=0.1, labels=50)["cost"]["breakdown"][
        "data"
    ] == pytest.approx(5)
    searched = one(provider="gcp", trials=10, failed_share=0.2)
    run = plain["cost"]["breakdown"]["compute"]
    assert searched["cost"]["breakdown"]["repeats"] == pytest.approx(run * (9 + 10 * 0.25 * 0.5))
    assert (
        searched["energy_kwh"]["p50"] == pytest.approx(plain["energy_kwh"]["p50"] * 11.25)
        and searched["run"] == plain["run"]
    )


def test_interruptions_lengthen_the_run_and_are_a_line_of_the_bill():
    calm = one(provider="gcp", spot=True, samples=5_000_000)
    assert (
        any("not known" in text for text in calm["warnings"])
        and calm["cost"]["breakdown"]["lost_work"] == 0
    )
    taken = one(provider="gcp", spot=True, samples=5_000_000, interruptions_per_day=6)
    lost = taken["run"]["breakdown_hours"]["interruptions"]
    assert lost > 0 and taken["run"]["wall_hours"]["p50"] == pytest.approx(
        calm["run"]["wall_hours"]["p50"] + lost
    )
    assert taken["cost"]["breakdown"]["lost_work"] == pytest.approx(
        lost * taken["cost"]["usd_per_gpu_hour"], rel=0.01
    )
    assert any("Young and Daly" in text for text in taken["assumptions"])
    rare = one(
        provider="gcp",
        spot=True,
        samples=5_000_000,
        interruptions_per_day=6,
        checkpoint_minutes=120,
    )
    assert rare["cost"]["breakdown"]["lost_work"] > taken["cost"]["breakdown"]["lost_work"]


def test_storage_egress_and_rounding_come_from_rows(plain):
    assert plain["cost"]["breakdown"]["storage"] == 0 and any(
        "storage at gcp is not in the cost" in text for text in plain["assumptions"]
    )
    kept = [
        one(provider="runpod", gpu="a100-sxm-80", strategy="fine_tune", keep_months=months)["cost"][
            "breakdown"
        ]["storage"]
        for months in (0, 12)
    ]
    assert 0 < kept[0] < kept[1] == pytest.approx(0.07 * 12 * (124_439_808 * 4 / 2**30), rel=0.05)
    assert any("bills by 1 s" in text for text in plain["assumptions"])


def test_owned_hardware_needs_all_of_its_facts():
    fields = {
        "owned_usd": 12_000.0,
        "owned_years": 3.0,
        "owned_utilisation": 0.6,
        "usd_per_kwh": 0.25,
    }
    own = one(**fields)
    assert (
        own["provider"] == "owned"
        and 0.75 < own["cost"]["usd_per_gpu_hour"] < 0.95
        and "purchase" not in own["cost"]["price_source"][:5]
    )
    assert "repairs" in own["cost"]["price_source"] and own["cost"]["breakdown"]["storage"] == 0
    for name in fields:
        with pytest.raises(QuestionError, match=name):
            one(**{key: value for key, value in fields.items() if key != name})
    with pytest.raises(QuestionError, match="gpu"):
        estimate("gpt2", **({key: value for key, value in ASKED.items() if key != "gpu"} | fields))


@pytest.mark.parametrize(
    "fields, complaint",
    [
        ({"labels": 5}, "usd_per_label"),
        ({"interruptions_per_day": 1.0}, "spot"),
        ({"checkpoint_minutes": 5.0}, "spot"),
        ({"failed_share": 1.0}, "less than 1"),
        ({"trials": 0}, "at least 1"),
        ({"usd_per_label": -1.0}, "at least 0"),
    ],
)
def test_what_contradicts_itself_is_refused(fields, complaint):
    with pytest.raises(QuestionError, match=complaint):
        one(**fields)


def test_commitments_are_asked_for():
    committed = one(gpu="h100-sxm", provider="hyperstack", commitment="reserved")
    listed = one(gpu="h100-sxm", provider="hyperstack")
    assert committed["cost"]["usd_per_gpu_hour"] == 2.72 < listed["cost"]["usd_per_gpu_hour"]
    assert any("commitment" in text for text in committed["warnings"])


def test_the_grid_has_a_date_and_codecarbon_stands_beside(plain):
    assert (
        plain["grid"]["year"]
        and plain["grid"]["grams_co2e_per_kwh"]["p10"] < plain["grid"]["grams_co2e_per_kwh"]["p90"]
    )
    other = plain["codecarbon"]
    assert (
        "codecarbon 3.3.2" in other["method"]
        and 0.5 < other["kwh"]["p50"] / plain["energy_kwh"]["p50"] < 2
    )
    assert other["co2_kg"]["p50"] > 0


def test_the_defaults_price_no_labour():
    assert (
        Question(model="gpt2", samples=1).usd_per_label is None
        and one()["cost"]["breakdown"]["data"] == 0
    )


def test_labels_for_enough_data_stand_beside_those_at_hand():
    """Training from scratch wants far more labels than there are: what they would cost is said, not
    billed."""
    option = estimate(
        "resnet50",
        samples=2000,
        strategy="scratch",
        gpu="a100-sxm-80",
        classes=1000,
        usd_per_label=0.05,
    )["options"][0]
    assert option["cost"]["breakdown"]["data"] == pytest.approx(100)
    assert (
        option["scratch"]["labels_usd"]
        == pytest.approx(0.05 * option["scratch"]["tokens_or_samples_needed"])
        and option["scratch"]["labels_usd"] > 10_000
    )
    # nobody labels tokens of text
    assert one(strategy="scratch", usd_per_label=0.05)["scratch"]["labels_usd"] is None
