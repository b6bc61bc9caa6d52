"""What is written about media: manifests, transcripts, captions, tables beside folders."""

import json

import pytest
from shapes_of_records import text
from test_scan_media import png, wav

from planner.datasets import scan
from planner.datasets.readers import Budget

SOUNDS = {f"wavs/LJ00{i}.wav": wav(1 + i) for i in range(4)}
SPEECH = "speech_recognition"


def folder(root, files):
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def lines(records):
    return "\n".join(map(json.dumps, records)) + "\n"


def manifest(count, where="/data"):
    return lines(
        {"audio_filepath": f"{where}/{i}.wav", "duration": 1.5 + i, "text": text(i)}
        for i in range(count)
    )


def transcribed(found, samples, seconds):
    assert (found.modality, found.samples, found.lengths) == ("audio", samples, None)
    assert found.audio_seconds.mean() == pytest.approx(seconds)
    assert found.target_lengths.min() > 5
    assert "sounds of mean" in " ".join(line.text for line in found.first_lines)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.jsonl"])
def test_a_manifest_of_sounds(tmp_path, name):
    folder(tmp_path, {name: manifest(5)})
    transcribed(scan(tmp_path / name, task=SPEECH), 5, 3.5)


def test_a_manifest_in_a_table(tmp_path):
    rows = "\n".join(f"clips/{i}.mp3,{2 + i},{text(i)}" for i in range(3))
    folder(tmp_path, {"train.csv": f"path,duration,sentence\n{rows}\n"})
    transcribed(scan(tmp_path / "train.csv", task=SPEECH), 3, 3)


def test_manifests_of_several_splits(tmp_path):
    folder(tmp_path, {"train_manifest.jsonl": manifest(3), "test_manifest.jsonl": manifest(9)})
    transcribed(scan(tmp_path, task=SPEECH), 3, 2.5)


def test_a_manifest_without_durations_is_measured(tmp_path):
    records = [{"audio": name, "transcript": text(name)} for name in SOUNDS]
    folder(tmp_path, {"d.jsonl": lines(records), **SOUNDS})
    transcribed(scan(tmp_path / "d.jsonl", task=SPEECH), 4, 2.5)
    part = scan(tmp_path / "d.jsonl", task=SPEECH, budget=Budget(media_files=2))
    assert (part.samples, part.sampled, part.whole) == (4, 2, False)


def test_sounds_that_are_not_there_are_said(tmp_path):
    records = [{"audio": name, "transcript": text(name)} for name in SOUNDS]
    folder(tmp_path, {"d.jsonl": lines(records)})
    found = scan(tmp_path / "d.jsonl")
    assert "are not beside the table" in found.first_lines[0].text


def test_ljspeech_as_a_folder_and_by_its_table(tmp_path):
    rows = [f"LJ00{i}|{text((i, 1))}|{text((i, 2))}" for i in range(4)]
    folder(tmp_path, {"metadata.csv": "\n".join(rows) + "\n", **SOUNDS})
    transcribed(scan(tmp_path, task=SPEECH), 4, 2.5)
    by_table = scan(tmp_path / "metadata.csv", task=SPEECH)
    transcribed(by_table, 4, 2.5)
    # one of the two spellings is spoken
    assert by_table.target_lengths.tolist() == scan(tmp_path, task=SPEECH).target_lengths.tolist()
    assert by_table.columns["inputs"] == "normalized_text"


def test_common_voice(tmp_path):
    header = "client_id\tpath\tsentence\n"
    rows = "\n".join(f"{i:040x}\tc{i}.wav\t{text(i)}" for i in range(3))
    clips = {f"clips/c{i}.wav": wav(2) for i in range(5)}
    folder(tmp_path, {"train.tsv": f"{header}{rows}\n", "test.tsv": header, **clips})
    transcribed(scan(tmp_path, task=SPEECH), 3, 2)


def test_librispeech(tmp_path):
    names = [f"84-121-000{i}" for i in range(4)]
    words = "\n".join(f"{name} {text(name).upper()}" for name in names)
    sounds = {f"84/121/{name}.wav": wav(2) for name in names}
    folder(tmp_path, {"84/121/84-121.trans.txt": words, **sounds})
    found = scan(tmp_path, task=SPEECH)
    transcribed(found, 4, 2)
    assert found.classes is None


def pictures(*folders, count=4, size=(64, 48)):
    return {f"{f}/{i}.png".lstrip("/"): png(*size) for f in folders for i in range(count)}


def captioned(found, samples, size=(64, 48)):
    assert (found.modality, found.samples) == ("image_text", samples)
    assert found.image_sizes == (*size, *size) and found.lengths.min() > 5


def test_a_text_beside_each_picture_is_its_caption(tmp_path):
    folder(tmp_path, pictures("") | {f"{i}.txt": text(i) for i in range(4)})
    captioned(scan(tmp_path), 4)


def test_several_captions_a_picture_are_a_sample_each(tmp_path):
    rows = "\n".join(f'{i}.png,"{text((i, n))}"' for i in range(4) for n in range(5))
    folder(tmp_path, pictures("images") | {"captions.txt": f"image,caption\n{rows}\n"})
    captioned(scan(tmp_path), 20)


def coco(count, each):
    images = [{"id": i, "file_name": f"{i}.png", "width": 640, "height": 480} for i in range(count)]
    notes = [{"id": n, "image_id": n % count, "caption": text(n)} for n in range(count * each)]
    return json.dumps({"info": {"year": 2017}, "images": images, "annotations": notes})


def test_coco(tmp_path):
    folder(tmp_path, {"captions.json": coco(3, 5)})
    captioned(scan(tmp_path / "captions.json"), 15, (640, 480))
    folder(tmp_path / "all", {"annotations/captions_train2017.json": coco(4, 5)})
    folder(tmp_path / "all", pictures("train2017", "val2017"))
    captioned(scan(tmp_path / "all"), 20)


def test_a_table_of_labels_beside_pictures(tmp_path):
    rows = "\n".join(f"{i},{'ab'[i % 2]}" for i in range(4))
    folder(tmp_path, pictures("train") | {"labels.csv": f"id,breed\n{rows}\n"})
    found = scan(tmp_path, task="image_classification")
    assert (found.classes, found.samples, found.modality) == (2, 4, "image")


def test_the_training_folder_of_pictures_and_its_classes(tmp_path):
    folder(tmp_path, pictures(*(f"{s}/{c}" for s in ("train", "val") for c in "abc")))
    found = scan(tmp_path)
    assert (found.samples, found.classes) == (12, 3)
    assert any("(val)" in line.text for line in found.first_lines)
    assert found.first_lines[-1].text == (
        "12 records of images of median 64 × 48 pixels, 3 classes"
    )


def test_pictures_that_a_conversation_names_are_said_to_be_missing(tmp_path):
    records = [
        {
            "image": f"x/{i}.jpg",
            "conversations": [
                {"from": "human", "value": "<image>\n" + text((i, 1))},
                {"from": "gpt", "value": text((i, 2))},
            ],
        }
        for i in range(4)
    ]
    folder(tmp_path, {"d.json": json.dumps(records)})
    found = scan(tmp_path / "d.json")
    assert found.columns["kind"] == "chat" and found.modality == "text"
    assert "sizes are unknown" in found.first_lines[0].text
