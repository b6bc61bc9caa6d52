"""The data loader in the estimate: measured rates beat priors, and a slow one sets the pace and is
said."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner import estimate
from planner.datasets.batching import BatchPlan
from planner.datasets.profile import DatasetProfile
from planner.devices.lookup import find_device
from planner.devices.profile import DeviceProfile
from planner.figures import Estimate
from planner.models.facts import ModelFacts
from planner.plan.inputs.problem import understand
from planner.plan.phases.host import Host
from planner.plan.phases.loading import Feed, beside, feed
from planner.plan.phases.pipeline import Pipeline
from planner.plan.phases.stages import Work, sample_of
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


SPEC = spec()


def images(**more):
    sizes = {"image_sizes": (500, 500, 900, 900)} | more
    return DatasetProfile("image", 1000, source="folder", **sizes)


PHOTOS = Pipeline((), ("decode_image", "resize", "normalise", "collate"), 1, 4, "a test")
MACHINE = Host(8, is_rented=True)


def work_on(task="image_classification", **facts):
    plan = BatchPlan(1000, 100, **facts.pop("batches", {}))
    about = {"name": "m", "origin": "timm", "library": "timm", "task": task} | facts
    about.setdefault("modality", "image")
    return Work(ModelFacts(fingerprint="x", **about), "fine_tune", task, plan)


def fed(data, spec, pipeline=PHOTOS, machine=MACHINE, work=None, **how):
    sample = sample_of(Question(model="m", samples=1), work or work_on(), data)
    return feed(data, spec, pipeline, sample, machine, **how)


def row(key):
    return overhead(key).p50


def test_a_photo_costs_its_pixels_and_its_crop():
    found = fed(images(), spec())
    pixels, crop = 500 * 500, 224 * 224
    one = pixels * (row("decode_pixel_seconds") + row("resize_pixel_seconds"))
    one += crop * (row("crop_pixel_seconds") + row("normalise_pixel_seconds"))
    one += crop * 12 * row("collate_byte_seconds")
    assert found.one_worker.p50 == pytest.approx(one, rel=1e-9)
    assert found.sample_seconds.p50 == pytest.approx(one / 4, rel=1e-9)
    assert 100 < 1 / one < 250  # as ffcv and DALI report of one core
    assert not found.adds and "4 loader workers a GPU load" in found.note


def test_bytes_on_a_stream_of_their_own_are_normalised_by_the_device():
    timm = Pipeline((), ("decode_image", "resize", "collate_bytes"), 1, 4, "a test")
    plain, ahead = fed(images(), spec()), fed(images(), spec(), timm)
    assert ahead.copy_seconds.p50 == 0 < plain.copy_seconds.p50
    spared = 224 * 224 * (row("normalise_pixel_seconds") + 9 * row("collate_byte_seconds"))
    assert plain.one_worker.p50 - ahead.one_worker.p50 == pytest.approx(spared)


def test_more_pixels_and_larger_crops_cost_more():
    small, large = (
        fed(images(image_sizes=(side, side, side, side)), spec()).one_worker for side in (500, 1000)
    )
    more = 750_000 * (row("decode_pixel_seconds") + row("resize_pixel_seconds"))
    assert large.p50 - small.p50 == pytest.approx(more)
    wide = fed(images(), spec(), work=work_on(image_size=448))
    assert wide.one_worker.p50 > 2 * fed(images(), spec()).one_worker.p50


def test_counts_are_photographs_of_the_usual_size():
    found = fed(dataclasses.replace(images(), source="counts", image_sizes=None), spec())
    pixels = overhead("photo_pixels").p50
    side = round(pixels**0.5)
    known = fed(images(image_sizes=(side, side, side, side)), spec())
    assert found.one_worker.p50 == pytest.approx(known.one_worker.p50, rel=0.01)
    assert found.one_worker.p90 > known.one_worker.p90  # of unknown size
    thumbs = fed(
        dataclasses.replace(images(), image_sizes=None), spec(), work=work_on(image_size=32)
    )
    assert thumbs.one_worker.p50 < found.one_worker.p50 / 40


def test_without_workers_the_training_process_loads_between_two_steps():
    found = fed(images(), spec(), asked_workers=0)
    step = Estimate(0.9, 1.0, 1.1)
    assert found.adds and found.workers == 0
    assert found.fed(step, 10).seconds.p50 == pytest.approx(
        1.0 + 10 * found.one_worker.p50 + 10 * found.copy_seconds.p50
    )
    ahead = fed(images(), spec(), asked_workers=0, is_awaited=False).fed(step, 10)
    assert ahead.stall == 0.0  # a process that never waits for the device loads while it works
    beside_it = fed(images(), spec(), asked_workers=2).fed(step, 10)
    assert beside_it.stall == 0.0 and beside_it.seconds.p50 == pytest.approx(1.0 + beside_it.copy)
    assert "the training process loads" in found.note


def test_workers_are_no_more_than_the_cores_for_a_device():
    crowded = fed(images(), spec(), machine=Host(2, is_rented=True), asked_workers=16)
    assert crowded.workers == 2 and crowded.most_workers == 2
    said = crowded.too_slow(64, Estimate.exact(0.01))
    assert "more than the 2 cores there are" in said


@given(st.integers(0, 40), st.integers(1, 64), st.floats(1e-3, 10.0))
def test_one_more_worker_is_never_slower(workers, samples, step):
    work = Estimate(0.8 * step, step, 1.2 * step)
    fewer, more = (
        fed(images(), SPEC, asked_workers=count).fed(work, samples)
        for count in (workers, workers + 1)
    )
    assert more.seconds.p50 <= fewer.seconds.p50 * (1 + 1e-12)
    assert more.stall >= 0 and more.seconds.p50 >= step


def test_the_copy_to_the_device_is_bytes_over_its_link():
    found = fed(images(), spec())
    rate = row("link_bytes_per_second_of_generation_3") * 4  # PCIe 5
    assert found.copy_seconds.p50 == pytest.approx(224 * 224 * 3 * 4 / rate)
    measured = DeviceProfile(
        {"name": "x", "kind": "cuda"}, {}, {}, facts={"host_to_device_pinned_bytes_per_s": 50e9}
    )
    known = dataclasses.replace(find_device("h100-sxm"), calibration=measured)
    assert fed(images(), known).copy_seconds.p50 == pytest.approx(224 * 224 * 12 / 50e9)


def test_a_measured_rate_beats_the_prior():
    prior, measured = fed(images(), spec()), fed(images(), spec(image=entry()))
    assert "prior" in prior.note and "measured 2026-11-01" in measured.note
    assert measured.workers == 4 and measured.sample_seconds.p50 == pytest.approx(0.011 / 4)
    assert (
        measured.sample_seconds.p90 / measured.sample_seconds.p10
        < prior.sample_seconds.p90 / prior.sample_seconds.p10
    )
    alone = fed(images(), spec(image=entry()), asked_workers=0)
    assert alone.adds and alone.sample_seconds.p50 == pytest.approx(0.011)


def test_measured_sizes_carry_over_by_their_pixels_and_are_less_sure():
    same, larger = (
        fed(images(image_sizes=(side, side, side, side)), spec(image=entry())).sample_seconds
        for side in (500, 1000)
    )
    assert larger.p50 == pytest.approx((0.001 + 4e-8 * 1e6) / 4)
    assert larger.p90 / larger.p50 > same.p90 / same.p50


def test_measured_workers_are_the_cores_of_one_device_less_one():
    found = fed(images(), spec(image=entry(cores=8, devices=4)))
    assert (found.workers, found.most_workers) == (1, 2)
    assert fed(images(), spec(image=entry(cores=1))).workers == 1


def test_workers_that_gain_nothing_are_believed():
    flat = entry(workers={"1": 90.0, "2": 91.0})
    assert fed(images(), spec(image=flat)).sample_seconds.p50 == pytest.approx(1 / 91)


def test_data_beyond_memory_is_read_from_disk():
    known = entry(dropped_read_seconds=0.0211)
    small, large = (
        fed(images(bytes_on_disk=size), spec(image=known)).sample_seconds.p50
        for size in (10**8, 10**12)
    )
    assert small == pytest.approx(0.011 / 4) and large > 10 * small


def test_rows_of_text_cost_their_tokens():
    lengths = np.full(100, 400)
    data = DatasetProfile("text", 1000, lengths=lengths, source="file", tokenizer="one")
    texts = work_on("text_classification", modality="text", library="transformers")
    rows = Pipeline((), ("token_row",), 1, 0, "a test")
    found = fed(data, spec(), rows, work=texts)
    each = row("row_seconds") + 400 * row("row_token_seconds")
    assert found.adds and found.sample_seconds.p50 == pytest.approx(each)
    cut = work_on(
        "text_classification",
        modality="text",
        library="transformers",
        batches={"longest_length": 100},
    )
    short = fed(data, spec(), rows, work=cut)
    assert short.sample_seconds.p50 == pytest.approx(each - 300 * row("row_token_seconds"))
    assert fed(data, spec(), Pipeline((), (), 1, 0, "a test"), work=texts) is None


def test_what_is_prepared_is_joined_and_no_more():
    found = fed(images(), spec(), is_prepared=True)
    assert found.one_worker.p50 == pytest.approx(224 * 224 * 12 * row("collate_byte_seconds"))


def test_the_warning_says_what_would_help():
    said = fed(images(), spec(image=entry()), asked_workers=8).too_slow(64, Estimate.exact(0.01))
    assert (
        "measured 2026-11-01" in said
        and "decode (90%" in said
        and "more than the 9 cores" in said
        and "71 workers" in said
    )
    prior = Feed(Estimate.exact(0.01), 8, "load", "prior").too_slow(10, Estimate.exact(0.05))
    assert (
        "prior rate of 8 loader workers" in prior
        and "16 workers" in prior
        and "planner calibrate --data" in prior
    )
    alone = fed(images(), spec(), asked_workers=0).too_slow(64, Estimate.exact(0.01))
    assert "rate of the training process" in alone and "--loader-workers" in alone


def test_a_processor_loads_and_trains_in_turn_a_gpu_beside():
    step, load = Estimate(1, 2, 3), Estimate(0.5, 1, 4)
    assert beside(step, load, adds=False) == Estimate(1, 2, 4)
    assert beside(step, load, adds=True).p50 == 3
    processor = dataclasses.replace(find_device("h100-sxm"), vendor="cpu")
    found = fed(images(), processor)
    assert found.adds and found.copy_seconds.p50 == 0


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
    assert hours[2] == pytest.approx(2 * hours[1], rel=1e-4) and hours[1] > 10 * hours[0]
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
