"""The input pipeline: generated data through the real libraries; no test depends on how fast the
machine is."""

import io
import json
import math
import pickle
import tarfile
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.datasets.loader import image_stages, opening, pipelines, sound_stages
from planner.datasets.loader.measure import loader_summary, measure_loader
from planner.datasets.loader.rate import fit_seconds, slowest_stage, worker_gain, worker_seconds
from planner.datasets.loader.workers import Prepared, measure_workers, usable_cores, worker_counts
from planner.errors import DataError

Image = pytest.importorskip("PIL.Image")
pa = pytest.importorskip("pyarrow")
SHORT = 0.2
CONTRACT = {
    "record",
    "modality",
    "stage",
    "per",
    "seconds",
    "low",
    "high",
    "samples",
    "library",
    "data",
}


def jpeg(width, height):
    out = io.BytesIO()
    noise = np.random.default_rng(width).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(30):
        (folder / f"{i}.jpg").write_bytes(jpeg(24 + 4 * i, 32))
    return folder


@pytest.fixture
def texts(tmp_path):
    file = tmp_path / "texts.jsonl"
    file.write_text(
        "\n".join(json.dumps({"text": "hello world " * (i + 1), "label": i % 2}) for i in range(50))
    )
    return file


@pytest.fixture
def sounds(tmp_path):
    folder = tmp_path / "sounds"
    folder.mkdir()
    for i in range(5):
        with wave.open(str(folder / f"{i}.wav"), "wb") as sound:
            sound.setnchannels(1 + i % 2), sound.setsampwidth(2), sound.setframerate(16_000)
            sound.writeframes(b"\1\0" * 8000 * (i + 1) * (1 + i % 2))
    return folder


@pytest.fixture
def tokenizer(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"hello": 0, "world": 1, "?": 2}, unk_token="?")
    )
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    model.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def measure(path, **asked):
    """(records, stage → its record) without worker processes unless asked."""
    records = list(measure_loader(path, seconds=SHORT, **{"workers": [0], **asked}))
    json.dumps(records)  # what goes to the journal must be JSON
    return records, {
        r["stage"]: r for r in records if r["record"] == "loader" and r.get("cache") != "dropped"
    }


def check(stages):
    for name, record in stages.items():
        if name == "workers":
            assert record["samples_per_second"] > 0 and record["low"] <= record["high"]
            continue
        assert (
            record.keys() >= CONTRACT and 0 < record["low"] <= record["seconds"] <= record["high"]
        )
    parts = sum(
        r["mean_seconds"] for name, r in stages.items() if name not in ("whole", "workers", "parse")
    )
    assert stages["whole"]["mean_seconds"] == pytest.approx(parts, rel=1e-6)


def test_images_are_read_decoded_transformed_and_joined(images):
    records, stages = measure(images, image_size=32)
    check(stages)
    assert set(stages) == {"read", "decode", "transform", "collate", "whole", "workers"}
    assert stages["decode"]["per"] == "pixel" and "illow" in stages["decode"]["library"]
    assert stages["whole"]["data"]["samples"] == 30 and set(stages["whole"]["units"]) <= {
        32.0 * (24 + 4 * i) for i in range(30)
    }
    entry = loader_summary(records)["image"]
    assert entry["unit"] == "pixel" and entry["cores"] >= 1 and entry["workers"].keys() == {"0"}


def test_real_worker_processes_feed_batches(images):
    records, _ = measure(images, image_size=16, workers=[2])
    assert loader_summary(records)["image"]["workers"]["2"] > 0
    assert not [r for r in records if r["record"] == "trust"]


def test_texts_are_tokenized(texts, tokenizer):
    records, stages = measure(texts, tokenizer_path=tokenizer)
    check(stages)
    assert stages["parse"]["once"] and stages["tokenize"]["per"] == "token"
    found = set(stages["whole"]["units"])
    assert len(found) >= 8 and found <= {2.0 * (i + 1) for i in range(50)}
    assert (
        "seconds_per_token" in loader_summary(records)["text"]
        and "parse" not in loader_summary(records)["text"]["stages"]
    )


def test_without_a_tokenizer_it_is_said(texts):
    records, stages = measure(texts)
    check(stages)
    assert (
        "tokenize" not in stages and "workers" not in stages and stages["whole"]["unit"] == "byte"
    )
    assert any(
        "tokenizer" in r["what"] and "--tokenizer" in r["mend"]
        for r in records
        if r["record"] == "trust"
    )


@pytest.mark.slow
@pytest.mark.parametrize("task", ["audio_classification", "speech_recognition"])
def test_sounds(sounds, task):
    pytest.importorskip("soundfile"), pytest.importorskip("transformers")
    _, stages = measure(sounds, task=task)
    check(stages)
    assert stages["decode"]["per"] == "audio_second" and sorted(stages["whole"]["units"]) == [
        0.5,
        1.0,
        1.5,
        2.0,
        2.5,
    ]


@pytest.mark.slow
def test_a_library_that_is_missing_is_said_where_it_matters(sounds, tmp_path, monkeypatch):
    pytest.importorskip("soundfile"), pytest.importorskip("transformers")
    monkeypatch.setattr(sound_stages, "RESAMPLERS", {})
    # these have the rate that models take
    assert not [r for r in measure(sounds)[0] if r["record"] == "trust"]
    with wave.open(str(sounds / "slow.wav"), "wb") as sound:
        (
            sound.setnchannels(1),
            sound.setsampwidth(2),
            sound.setframerate(8000),
            sound.writeframes(b"\1\0" * 8000),
        )
    assert "resampled" in next(r for r in measure(sounds)[0] if r["record"] == "trust")["what"]


def test_media_in_tables_and_shards(images, tmp_path):
    import pyarrow.parquet as pq

    files = sorted(images.iterdir())
    rows = [{"label": 0, "image": {"bytes": f.read_bytes(), "path": f.name}} for f in files]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    for name, mode in (("s.tar", "w"), ("s.tar.gz", "w:gz")):
        with tarfile.open(tmp_path / name, mode) as shard:
            for f in files:
                shard.add(f, f.name)
    wanted = {f.read_bytes() for f in files}
    for name in ("t.parquet", "s.tar", "s.tar.gz"):
        source = opening.open_source(tmp_path / name)
        assert (
            source.modality == "image" and {source.read(i) for i in range(len(source))} == wanted
        ), name
    check(measure(tmp_path / "t.parquet", image_size=16)[1])


def test_without_torchvision_pillow_and_numpy_do_the_same(images, monkeypatch):
    out = image_stages.Augment(16)(Image.open(next(images.iterdir())))
    assert tuple(out.shape) == (3, 16, 16) and out.dtype.is_floating_point
    assert float(out.abs().max()) < 3  # ImageNet's normalisation maps 0…1 into -2.2…2.7


def test_broken_images_are_skipped_and_counted(images):
    for file in sorted(images.iterdir())[5:]:
        file.unlink()
    (images / "zz.jpg").write_bytes(b"\xff\xd8nonsense")
    records, stages = measure(images, image_size=16)
    assert stages["whole"]["data"]["skipped"] == 1
    said = next(r for r in records if r["record"] == "trust")["what"]
    assert "1 of " in said and "zz.jpg: UnidentifiedImageError" in said and "0x" not in said
    check(stages)


def test_bad_input_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir(), (tmp_path / "odd.xyz").write_text("x"), (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_bytes(b"nonsense")
    for name, words in (
        ("empty", "empty"),
        ("odd.xyz", "no reader"),
        ("bad", "none of the 1 samples"),
        ("gone", "no such file"),
    ):
        with pytest.raises(DataError, match=words) as caught:
            list(measure_loader(tmp_path / name, seconds=SHORT))
        assert "\n" not in str(caught.value)


def test_a_dataset_travels_to_workers_that_are_started_afresh(images, texts, tokenizer):
    for path in (images, texts):
        source = opening.open_source(path)
        pipe = pipelines.pipeline(source, tokenizer_path=tokenizer, image_size=16)
        copy = pickle.loads(pickle.dumps(Prepared(source, pipe.stages, (0, 1))))
        assert len(copy) == 2 and len(copy[1])


def test_workers_that_fail_are_said(images, monkeypatch):
    def failing(*_):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error.\nsecond line")
        yield

    monkeypatch.setattr("planner.datasets.loader.measure.measure_workers", failing)
    records, stages = measure(images)
    assert (
        "workers" not in stages
        and "Bus error" in records[-1]["what"]
        and "shm" in records[-1]["mend"]
    )


def test_measured_rates_count_what_arrived():
    class Slow:
        indices = range(8)

        def __len__(self):
            return 8

        def __getitem__(self, index):
            import torch

            return torch.zeros(1)

    found = list(measure_workers(Slow(), 1.0, [0], 0.05))
    assert (
        [f["workers"] for f in found] == [0]
        and found[0]["batch_size"] == 1
        and found[0]["batches"] > 2
    )


@given(st.integers(1, 300))
def test_the_most_telling_numbers_of_workers_come_first(cores):
    counts = worker_counts(cores)
    assert (
        counts[0] == 1
        and set(counts) >= {0, 1, cores}
        and len(set(counts)) == len(counts)
        and max(counts) == cores
    )


def test_cores_are_those_that_may_be_used():
    assert 1 <= usable_cores() <= 4096


@given(
    st.floats(1e-5, 1e-2),
    st.floats(1e-9, 1e-7),
    st.lists(st.floats(1e4, 1e6), min_size=5, max_size=40),
)
def test_the_fit_finds_the_line_it_was_made_from(a, b, units):
    x = np.array(units)
    fa, fb, sigma = fit_seconds(x, a + b * x, 0.5)
    np.testing.assert_allclose(np.mean(fa + fb * x), np.mean(a + b * x), rtol=1e-6)
    if x.std() > 0.2 * x.mean():
        np.testing.assert_allclose(fa + fb * x, a + b * x, rtol=1e-3)
        assert sigma < 1e-3


@given(
    st.lists(
        st.tuples(st.just(0.0) | st.floats(1e-3, 1e6), st.floats(1e-7, 10)), min_size=1, max_size=30
    ),
    st.floats(0, 1),
)
def test_any_fit_is_a_cost(points, share):
    x, y = np.array(points).T
    a, b, sigma = fit_seconds(x, y, share)
    assert a >= 0 and b >= 0 and sigma >= 0 and math.isfinite(a + b + sigma)
    assert np.mean(a + b * x) == pytest.approx(y.mean(), rel=1e-6)


ENTRY = {
    "unit": "pixel",
    "seconds_per_sample": 0.001,
    "seconds_per_pixel": 1e-8,
    "mean_seconds": 0.011,
    "mean_units": 1e6,
    "cores": 8,
    "workers": {"0": 80.0, "1": 85.0, "2": 160.0, "8": 400.0},
    "stages": {"read": {"seconds": 0.001}, "decode": {"seconds": 0.009}},
}


def test_the_gain_of_workers_is_what_was_measured():
    assert worker_gain(ENTRY, 1) == pytest.approx(85 * 0.011)
    assert worker_gain(ENTRY, 5) == pytest.approx(280 * 0.011)
    assert worker_gain(ENTRY, 64) == worker_gain(ENTRY, 8)
    assert worker_gain({**ENTRY, "workers": {}}, 64) == 8
    assert (
        worker_seconds(ENTRY, 5e6) == pytest.approx(0.051) and worker_seconds(ENTRY, None) == 0.011
    )
    assert (
        slowest_stage(ENTRY) == ("decode", pytest.approx(0.9))
        and slowest_stage({**ENTRY, "stages": {}}) is None
    )


def test_the_last_of_several_measurements_counts(images):
    first, _ = measure(images, image_size=16)
    second, _ = measure(images, image_size=16)
    assert loader_summary([*first, *second]) == loader_summary(second)
    assert loader_summary([]) == {}
