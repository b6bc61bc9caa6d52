"""Images, sounds and shards."""

import io
import json
import tarfile
import wave

import numpy as np
import pytest

from planner.datasets import scan
from planner.datasets.readers import Budget
from planner.errors import DataError

Image = pytest.importorskip("PIL.Image")


def png(width, height):
    out = io.BytesIO()
    Image.new("RGB", (width, height)).save(out, "PNG")
    return out.getvalue()


def wav(seconds, rate=8000):
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(rate)
        sound.writeframes(b"\0\0" * int(seconds * rate))
    return out.getvalue()


@pytest.fixture
def images(tmp_path):
    for label in ("cat", "dog", "eel"):
        (tmp_path / "train" / label).mkdir(parents=True)
        for i in range(10):
            (tmp_path / "train" / label / f"{i}.png").write_bytes(png(20 + i, 30))
    return tmp_path


def test_an_image_folder(images):
    found = scan(images)
    assert (found.modality, found.samples, found.classes, found.lengths) == ("image", 30, 3, None)
    assert found.image_sizes == (24, 30, 29, 30) and found.whole


def test_a_large_image_folder_is_sampled(images):
    found = scan(images, budget=Budget(media_files=6))
    assert (found.samples, found.sampled, found.classes) == (30, 6, 3)


def test_broken_images(images):
    (images / "train" / "cat" / "0.png").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="cat/0.png"):
        scan(images)


def test_captions_make_pairs_of_image_and_text(tmp_path):
    rows = [{"file_name": f"{i}.png", "text": "a picture of a cat"} for i in range(4)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(png(8, 8))
    found = scan(tmp_path)
    assert (
        found.modality == "image_text"
        and found.lengths.min() > 2
        and found.image_sizes == (8, 8, 8, 8)
    )


def test_an_audio_folder(tmp_path):
    for i in range(1, 5):
        (tmp_path / f"{i}.wav").write_bytes(wav(i / 2))
    found = scan(tmp_path)
    np.testing.assert_allclose(np.sort(found.audio_seconds), [0.5, 1.0, 1.5, 2.0])
    plan = found.batches(4)
    assert (plan.longest_seconds, plan.mean_padded_seconds, plan.longest_length) == (2.0, 2.0, None)


def test_transcripts_are_the_targets_of_sounds(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(1))
    (tmp_path / "metadata.csv").write_text("file_name,transcription\na.wav,hello to all of you\n")
    found = scan(tmp_path, task="speech_recognition")
    assert found.modality == "audio" and found.lengths is None and found.target_lengths[0] >= 3


def shard(path, samples):
    with tarfile.open(path, "w") as out:
        for number, members in enumerate(samples):
            for suffix, data in members.items():
                info = tarfile.TarInfo(f"{number:05}.{suffix}")
                info.size = len(data)
                out.addfile(info, io.BytesIO(data))


def test_webdataset_shards(tmp_path):
    for i in range(3):
        shard(
            tmp_path / f"{i:03}.tar", [{"png": png(16, 12), "txt": b"a photo", "json": b"{}"}] * 20
        )
    found = scan(tmp_path)
    assert (found.modality, found.samples, found.image_sizes) == (
        "image_text",
        60,
        (16, 12, 16, 12),
    )
    assert found.whole


def test_large_shards_are_extrapolated(tmp_path):
    shard(
        tmp_path / "a.tar",
        [{"txt": b"word " * 200, "cls": str(i % 4).encode()} for i in range(500)],
    )
    found = scan(tmp_path / "a.tar", budget=Budget(whole_bytes=200_000))
    assert (
        found.sampled < 300 and found.samples == pytest.approx(500, rel=0.05) and found.classes == 4
    )


def test_images_inside_of_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    rows = [{"image": {"bytes": png(10, 7), "path": None}, "label": i % 2} for i in range(6)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    found = scan(tmp_path / "train.parquet")
    assert (found.modality, found.samples, found.classes, found.image_sizes) == (
        "image",
        6,
        2,
        (10, 7, 10, 7),
    )
