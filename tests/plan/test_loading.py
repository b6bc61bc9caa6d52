"""The data loader in the estimate: measured rates beat priors, and a slow one sets the pace and is
said."""

import dataclasses
import json

import numpy as np
import pytest

from planner import estimate
from planner.datasets.profile import DatasetProfile
from planner.devices.lookup import find_device
from planner.devices.profile import DeviceProfile
from planner.figures import Estimate
from planner.plan.inputs.problem import understand
from planner.plan.phases.loading import Feed, feed
from planner.plan.phases.training import paced
from planner.question import Question
from planner.uncertainty.spread import overhead


def entry(
    unit="pixel",
    per_sample=0.001,
    per_unit=4e-8,
    mean=250_000.0,
    cores=9,
    devices=1,
    efficiency=1.0,
    **more,
):
    one = per_sample + per_unit * mean
    return {
        "unit": unit,
        "seconds_per_sample": per_sample,
        f"seconds_per_{unit}": per_unit,
        "mean_seconds": one,
        "mean_units": mean,
        "sigma_log": 0.2,
        "scatter_log": 0.05,
        "stages": {
            "read": {"seconds": 0.1 * one, "library": "x"},
            "decode": {"seconds": 0.9 * one, "library": "x"},
        },
        "dropped_read_seconds": None,
        "workers": {str(n): n * efficiency / one for n in (1, 2, 4, 8, 9)},
        "mean_bytes": 1e5,
        "cores": cores,
        "devices": devices,
        "memory_bytes": 64 * 2**30,
        "data": "images",
        "date": "2026-11-01",
        **more,
    }


def spec(**loader):
    profile = DeviceProfile({"name": "x", "kind": "cuda"}, {}, {}, loader=loader)
    return dataclasses.replace(find_device("h100-sxm"), calibration=profile)


def images(**more):
    return DatasetProfile("image", 1000, image_sizes=(500, 500, 900, 900), source="folder", **more)


def test_a_measured_rate_beats_the_prior():
    prior, measured = feed(images(), spec()), feed(images(), spec(image=entry()))
    assert prior.sample_seconds.p50 == pytest.approx(
        1 / overhead("images_per_second_per_worker").p50 / overhead("workers").p50
    )
    assert "prior" in prior.note and "measured 2026-11-01" in measured.note
    assert measured.workers == 8 and measured.sample_seconds.p50 == pytest.approx(0.011 / 8)
    assert (
        measured.sample_seconds.p90 / measured.sample_seconds.p10
        < prior.sample_seconds.p90 / prior.sample_seconds.p10
    )


def test_other_sizes_cost_by_their_pixels_and_are_less_sure():
    same, larger = (
        feed(
            dataclasses.replace(images(), image_sizes=(side, side, side, side)), spec(image=entry())
        ).sample_seconds
        for side in (500, 1000)
    )
    assert larger.p50 == pytest.approx((0.001 + 4e-8 * 1e6) / 8)
    assert larger.p90 / larger.p50 > same.p90 / same.p50


def test_workers_are_the_cores_of_one_device_less_one():
    found = feed(images(), spec(image=entry(cores=8, devices=4)))
    assert (found.workers, found.most_workers) == (1, 2)
    assert feed(images(), spec(image=entry(cores=1))).workers == 1


def test_workers_that_gain_nothing_are_believed():
    flat = entry(workers={"1": 90.0, "2": 91.0})
    assert feed(images(), spec(image=flat)).sample_seconds.p50 == pytest.approx(1 / 91)


def test_data_beyond_memory_is_read_from_disk():
    known = entry(dropped_read_seconds=0.0211)
    small, large = (
        feed(images(bytes_on_disk=size), spec(image=known)).sample_seconds.p50
        for size in (10**8, 10**12)
    )
    assert small == pytest.approx(0.011 / 8) and large > 10 * small


def text(**more):
    return DatasetProfile(
        "text", 100, lengths=np.full(100, 400), source="file", tokenizer="a tokenizer", **more
    )


def test_text_counts_once_it_was_measured():
    tokens = entry("token", 1e-4, 1e-6, 400.0)
    assert feed(text(), spec()) is None and feed(text(), spec(image=entry())) is None
    found = feed(text(), spec(text=tokens))
    assert found.sample_seconds.p50 == pytest.approx(5e-4 / 8) and "tokenize" in found.note
    # tokenized already
    assert feed(dataclasses.replace(text(), tokenizer=""), spec(text=tokens)) is None
    # nobody tokenized when it was measured
    assert feed(text(), spec(text={**tokens, "unit": "byte"})) is None
    packed = feed(text(), spec(text=tokens), samples_per_epoch=25)
    assert packed.sample_seconds.p50 == pytest.approx(4 * found.sample_seconds.p50)


def test_counts_have_no_loader():
    assert feed(dataclasses.replace(images(), source="counts"), spec(image=entry())) is None


def test_the_warning_says_what_would_help():
    said = feed(images(), spec(image=entry())).too_slow(64, Estimate.exact(0.01))
    assert (
        "measured 2026-11-01" in said
        and "decode (90%" in said
        and "more than the 9 cores" in said
        and "71 workers" in said
    )
    prior = Feed(Estimate.exact(0.01), 8, "decode", "prior").too_slow(10, Estimate.exact(0.05))
    assert (
        "prior rate of 8 workers" in prior
        and "16 workers" in prior
        and "planner calibrate --data" in prior
    )


def test_a_processor_loads_and_trains_in_turn_a_gpu_beside():
    gpu, step, load = find_device("h100-sxm"), Estimate(1, 2, 3), Estimate(0.5, 1, 4)
    assert paced(step, load, gpu) == Estimate(1, 2, 4)
    assert paced(step, load, dataclasses.replace(gpu, vendor="cpu")).p50 == 3


@pytest.fixture
def folder(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for i in range(64):
        image.new("RGB", (200, 100), (i, 0, 0)).save(tmp_path / f"{i}.jpg")
    return tmp_path


def ask(folder, tmp_path_factory, loader):
    from planner.devices.profile import save

    file = tmp_path_factory.mktemp("profiles") / "h100.json"
    save(
        DeviceProfile(
            {"name": "NVIDIA H100 80GB HBM3", "key": "h100-sxm", "kind": "cuda"},
            {"date": "2026-11-01"},
            {},
            loader=loader,
        ),
        file,
    )
    return estimate(
        "vit-base",
        data=str(folder),
        gpu=str(file),
        strategy="fine_tune",
        micro_batch=8,
        epochs=100,
        classes=1000,
    )["options"][0]


def test_the_estimate_says_when_the_loader_sets_the_pace(folder, tmp_path_factory):
    fast, slow, slower = (
        ask(
            folder,
            tmp_path_factory,
            {"image": entry(per_sample=0.0, per_unit=seconds / 20_000, mean=20_000.0)},
        )
        for seconds in (1e-6, 10.0, 20.0)
    )
    warning = [w for w in slow["warnings"] if "the data loader sets the pace" in w]
    assert (
        len(warning) == 1
        and "measured 2026-11-01" in warning[0]
        and not [w for w in fast["warnings"] if "the data loader" in w]
    )
    hours = [o["run"]["breakdown_hours"]["training"] for o in (fast, slow, slower)]
    assert hours[2] == pytest.approx(2 * hours[1], rel=1e-6) and hours[1] > 10 * hours[0]
    assert (
        slow["run"]["breakdown_hours"]["evaluation"] > fast["run"]["breakdown_hours"]["evaluation"]
    )
    assert slow["cost"]["usd"]["p50"] > fast["cost"]["usd"]["p50"]
    assert any(
        "loader workers a GPU" in line and "measured" in line for line in fast["assumptions"]
    )
    json.dumps(slow)


def test_a_scan_reports_to_the_progress_of_the_question(folder):
    calls = []
    understand(
        Question(model="vit-base", data=str(folder)),
        lambda text, done, total: calls.append((text, done, total)),
    )
    assert calls[-1] == ("counting the data", 100, 100)
    assert [done for _, done, _ in calls] == sorted(done for _, done, _ in calls)
