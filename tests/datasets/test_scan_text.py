"""Files of text, in every format: what is counted, and what is refused."""

import csv
import gzip
import json
import random
import subprocess
import sys

import numpy as np
import pytest

from planner import tables
from planner.datasets import scan
from planner.datasets.readers import Budget, registry, supported
from planner.datasets.tokens import BytesPerToken, ratio, script_bytes
from planner.errors import DataError, PlannerError

SMALL = Budget(whole_bytes=20_000, sample_bytes=16_000, blocks=16)


def write_jsonl(path, records):
    path.write_text("\n".join(json.dumps(r) for r in records) + "\n")
    return path


def words(rng, count):
    return " ".join(
        rng.choice(["river", "of", "the", "mountain", "was", "green"]) for _ in range(count)
    )


@pytest.fixture
def records():
    rng = random.Random(1)
    return [{"text": words(rng, rng.randint(5, 60)), "label": i % 3} for i in range(3000)]


def test_the_example_that_ships():
    found = scan(tables.path("examples", "support_tickets.jsonl"), task="causal_lm")
    assert found.samples == found.sampled == 300 and found.columns["kind"] == "chat"
    assert found.lengths.max() > 3 * np.median(found.lengths)
    assert found.length_relative_error == pytest.approx(ratio("ascii", "large")[1], abs=0.02)
    json.dumps(found.as_dict())


def test_formats_agree(tmp_path, records):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    write_jsonl(tmp_path / "a.jsonl", records)
    (tmp_path / "b.json").write_text(json.dumps(records))
    (tmp_path / "c.json").write_text(json.dumps({"version": 1, "data": records}))
    with gzip.open(tmp_path / "d.jsonl.gz", "wt") as handle:
        handle.writelines(json.dumps(r) + "\n" for r in records)
    for name, delimiter in (("e.csv", ","), ("f.tsv", "\t"), ("g.csv", ";")):
        with (tmp_path / name).open("w", newline="") as handle:
            writer = csv.DictWriter(handle, ["text", "label"], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(records)
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "h.parquet", row_group_size=500)
    (tmp_path / "i.txt").write_text("\n".join(r["text"] for r in records))
    expected = scan(tmp_path / "a.jsonl").lengths
    for file in sorted(tmp_path.iterdir()):
        found = scan(file)
        assert found.samples == 3000 and found.whole, file.name
        np.testing.assert_array_equal(found.lengths, expected, err_msg=file.name)
        assert found.classes == (None if file.suffix == ".txt" else 3), file.name


@pytest.mark.parametrize(
    "format", ["jsonl", "csv", "txt", "parquet", "json", "paragraphs", "gz", "arrow"]
)
def test_large_files_are_sampled_within_their_stated_error(tmp_path, records, format):
    texts = [r["text"] for r in records]
    path = tmp_path / f"data.{format}"
    if format == "jsonl":
        write_jsonl(path, records)
    elif format == "json":
        path.write_text(json.dumps(records))
    elif format == "csv":
        with path.open("w", newline="") as handle:
            csv.writer(handle).writerows(
                [["text", "label"], *([t.replace(" was", "\nwas"), 1] for t in texts)]
            )
    elif format == "txt":
        path.write_text("\n".join(texts))
    elif format == "paragraphs":
        path = tmp_path / "doc.txt"
        path.write_text("\n\n".join(t.replace(" was", "\nwas") for t in texts))
    elif format == "gz":
        path = tmp_path / "data.jsonl.gz"
        path.write_bytes(gzip.compress("\n".join(json.dumps(r) for r in records).encode()))
    elif format == "parquet":
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet as pq

        pq.write_table(
            pa.Table.from_pylist(records), path, row_group_size=100, use_dictionary=False
        )
    elif format == "arrow":
        datasets = pytest.importorskip("datasets")
        datasets.Dataset.from_list(records).save_to_disk(str(path))
    truth = BytesPerToken.for_vocabulary(None).count([t for t in texts]) + 1
    found = scan(path, budget=SMALL)
    assert 30 < found.sampled < 3000
    assert abs(found.samples / 3000 - 1) <= max(0.02, 4 * found.samples_relative_error)
    assert abs(found.mean_length / truth.mean() - 1) < 0.15
    assert found.length_relative_error > ratio("ascii", "large")[1] and any(
        "were counted" in a for a in found.assumptions
    )
    assert found.batches(4).longest_is_extrapolated


def test_sorted_data_have_a_large_sampling_error(tmp_path):
    rng = random.Random(2)
    records = [{"text": words(rng, 5 + i // 20)} for i in range(2000)]
    shuffled = random.Random(3).sample(records, len(records))

    def error(data):
        return scan(write_jsonl(tmp_path / "x.jsonl", data), budget=SMALL).length_relative_error

    assert error(records) > 1.5 * error(shuffled)


@pytest.mark.parametrize(
    "record, kind, columns",
    [
        (
            {
                "messages": [
                    {"role": "user", "content": "hi"},
                    {"role": "assistant", "content": "hello there"},
                ]
            },
            "chat",
            "messages",
        ),
        (
            {
                "conversations": [
                    {"from": "human", "value": "hi"},
                    {"from": "gpt", "value": "hello there"},
                ]
            },
            "chat",
            "conversations",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
            "chat",
            "messages",
        ),
        (
            {"instruction": "add", "input": "1 and 1", "output": "2"},
            "instruction",
            "instruction, input",
        ),
        ({"prompt": "why", "completion": "because"}, "instruction", "prompt"),
        ({"question": "why", "answer": "because"}, "instruction", "question"),
        ({"Text": "plain"}, "text", "Text"),
        ({"sentence1": "a cat", "sentence2": "a dog", "label": 1}, "pair", "sentence1, sentence2"),
        ({"document": "long", "summary": "short"}, "transfer", "document"),
        ({"translation": {"en": "cat", "de": "Katze"}}, "transfer", "translation.en"),
        ({"input_ids": [1, 2, 3]}, "ids", "input_ids"),
        ({"blurb": "some words about it", "id": "77"}, "text", "blurb"),
    ],
)
def test_shapes_of_records(tmp_path, record, kind, columns):
    found = scan(write_jsonl(tmp_path / "d.jsonl", [record] * 30))
    assert (found.columns["kind"], found.columns["inputs"]) == (kind, columns)
    assert found.lengths.min() >= 2 and found.target_lengths is None


def test_chat_templates_are_counted_once_a_message(tmp_path):
    short, long = ([{"role": "user", "content": "hi"}] * n for n in (2, 5))
    found = scan(write_jsonl(tmp_path / "d.jsonl", [{"messages": short}, {"messages": long}]))
    # ChatML: two marks, the role and two newlines a message, and its one token
    assert found.lengths.tolist() == [2 * (5 + 1), 5 * (5 + 1)]


def test_targets_of_an_encoder_decoder(tmp_path):
    file = write_jsonl(
        tmp_path / "d.jsonl", [{"document": "word " * 40, "summary": "word " * 4}] * 5
    )
    found = scan(file, task="seq2seq_lm")
    assert found.target_lengths.mean() < found.lengths.mean() < scan(file).lengths.mean()
    assert (
        scan(file, task="seq2seq_lm", text_columns=["summary", "document"]).target_lengths.mean()
        == found.lengths.mean()
    )


def test_pairs_are_read_by_the_task(tmp_path):
    file = write_jsonl(
        tmp_path / "d.jsonl",
        [
            {"question": "is it", "passage": "it is " * 9, "label": True},
            {"question": "a", "passage": "b", "label": False},
        ],
    )
    found = scan(file, task="text_classification")
    assert (
        found.columns == {"kind": "pair", "inputs": "question, passage", "label": "label"}
        and found.classes == 2
    )


def test_a_tokenizer_on_disk_counts_exactly(tmp_path, records):
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"[UNK]": 0, "river": 1}, unk_token="[UNK]")
    )
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    model.save(str(tmp_path / "tokenizer.json"))
    found = scan(write_jsonl(tmp_path / "d.jsonl", records), tokenizer_path=tmp_path)
    assert found.lengths.tolist() == [len(r["text"].split()) for r in records]
    assert found.length_relative_error == 0.0
    (tmp_path / "half.jsonl").write_text('{"text": "river \\ud83d"}')
    assert scan(tmp_path / "half.jsonl", tokenizer_path=tmp_path).lengths.tolist() == [2]
    with pytest.raises(DataError, match="tokenizer.json"):
        scan(tmp_path / "d.jsonl", tokenizer_path=tmp_path / "nowhere")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="not a tokenizer"):
        scan(tmp_path / "d.jsonl", tokenizer_path=tmp_path / "bad")


@pytest.mark.parametrize(
    "text, script",
    [
        ("The cat sat on the mat.", "ascii"),
        ("Die Mäuse überqueren zögernd die Straße.", "latin"),
        ("猫坐在垫子上。", "cjk"),
        ("Кошка сидит на коврике", "cyrillic"),
        ("for (i = 0; i < n; i++) { f(x[i]); }", "code"),
        ("القطة على السجادة", "arabic"),
        ("12:03:44 0.5, 17/18 22:10:01", "numeric"),
    ],
)
def test_scripts(text, script):
    parts = script_bytes(text)
    assert sum(parts.values()) == pytest.approx(len(text.encode()))
    assert max(parts, key=parts.get) == script


def test_every_row_of_the_ratios_has_a_source():
    for row in tables.rows("datasets", "bytes_per_token.csv"):
        assert (
            0.5 < float(row["bytes_per_token"]) < 8
            and 0 < float(row["relative_error"]) < 1
            and row["source"]
            and row["date"]
        )
    scripts = {row["script"] for row in tables.rows("datasets", "bytes_per_token.csv")}
    assert len(tables.rows("datasets", "bytes_per_token.csv")) == 3 * len(scripts) >= 21


def test_a_small_share_of_bad_lines_is_skipped_and_said(tmp_path, records):
    lines = [json.dumps(r) for r in records[:500]]
    lines[10] = "{broken"
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    found = scan(tmp_path / "d.jsonl")
    assert (
        found.samples == 499
        and "skipped 1 of 500" in found.warnings[0]
        and "d.jsonl:11" in found.warnings[0]
    )


BAD = {
    "empty.jsonl": (b"", "empty"),
    "blank.txt": (b"\n\n  \n", "blank"),
    "bad.jsonl": (b'{"text": "a"}\n{"text": \n', "bad.jsonl:2"),
    "binary.txt": (b"\x00\x01\x02" * 900, "binary"),
    "latin1.txt": (("Käse und Brötchen für alle\n" * 9).encode("latin1"), "UTF-8"),
    "utf16.txt": ("hello there".encode("utf-16"), "UTF-16"),
    "list.json": (b"[1, 2]", "no objects"),
    "broken.json": (b'[{"a": 1}, ', "not JSON"),
    "scalar.json": (b"17", "list of records"),
    "rows.csv": (b"1,good\n2,bad\n", "not a header"),
    "ragged.csv": (b"text,label\na,b\na,b,c\n", "3 cells"),
    "header.csv": (b"text,label\n", "no row"),
    "what.xyz": (b"hello", "Supported"),
    "not.parquet": (b"PAR0 nonsense", "Parquet"),
    "not.tar": (b"nonsense", "tar"),
    "not.jsonl.gz": (b"nonsense", "decompressed|damaged"),
    "deep.json": (b"[" * 100_000, "deeply"),
    "deep.jsonl": (b"[" * 100_000, "not JSON"),
    "return.csv": (b"te\rxt,label\na,b\n", "header"),
    "cut.jsonl.gz": (gzip.compress(b'{"text": "abc"}\n' * 5000)[:-20], "damaged"),
    "notext.jsonl": (b'{"a": 1, "b": [2]}\n' * 5, "no column holds text"),
    "not.png": (b"nonsense", "image"),
    "not.wav": (b"nonsense", "sound|soundfile"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_line(tmp_path, name):
    content, words_of_error = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PlannerError, match=words_of_error) as caught:
        scan(tmp_path / name)
    assert name in str(caught.value) or "soundfile" in str(caught.value)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_paths_and_columns_that_are_not_there(tmp_path, records):
    file = write_jsonl(tmp_path / "train.jsonl", records[:5])
    with pytest.raises(DataError, match="Did you mean train.jsonl"):
        scan(tmp_path / "trian.jsonl")
    with pytest.raises(DataError, match="Did you mean text.*columns are: text, label"):
        scan(file, text_columns=["txet"])
    (tmp_path / "hollow").mkdir()
    with pytest.raises(DataError, match="folder is empty"):
        scan(tmp_path / "hollow")


SEEDS = (
    b'{"text": "a b c"}\n' * 20,
    b'text,label\n"a,b",1\n"c\nd",2\n' * 5,
    b'[{"a":"x y"}]',
    b'{"messages": [1,2,{"role":3}]}\n',
    b'{"input_ids": "abc"}\n',
    b'{"translation": {"en": null, "de": 3}}\n',
    b'{"label": [[1]], "text": [1,{"a":2}]}\n',
    b'{"label": 1e999, "text": "x"}\n',
    b'{"text": 5}\n',
    b'{"label": {"a":1}, "text":"x"}\n{"label": 1, "text":"x"}\n',
    b'{"answers": {"text": ["a"]}, "question": "b"}\n',
)


@pytest.mark.parametrize(
    "suffix", [".jsonl", ".json", ".csv", ".tsv", ".txt", ".tar", ".parquet", ".arrow", ".jsonl.gz"]
)
def test_damaged_files_never_end_in_a_traceback(tmp_path, suffix):
    rng = random.Random(suffix)
    for _ in range(60):
        data = bytearray(rng.choice(SEEDS))
        for _ in range(rng.randint(0, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path / f"x{suffix}").write_bytes(data)
        for task in (None, "seq2seq_lm", "text_classification"):
            try:
                found = scan(tmp_path / f"x{suffix}", task=task)
                assert found.samples >= found.sampled >= 1
            except PlannerError as error:
                assert "\n" not in str(error) and f"x{suffix}" in str(error)


def test_a_line_without_an_end_is_refused(tmp_path):
    (tmp_path / "d.jsonl").write_bytes(b'{"text": "' + b"a" * 50_000)
    with pytest.raises(DataError, match="longer than|not JSON"):
        scan(
            tmp_path / "d.jsonl",
            budget=Budget(
                whole_bytes=1000, sample_bytes=4000, blocks=4, longest_record_bytes=10_000
            ),
        )


def test_a_folder_takes_its_training_split(tmp_path, records):
    (tmp_path / "README.md").write_text("about " * 99_999)
    write_jsonl(tmp_path / "train.jsonl", records[:100])
    write_jsonl(tmp_path / "test.jsonl", records[:900])
    found = scan(tmp_path)
    assert found.samples == 100 and any("training split" in line.text for line in found.first_lines)


def test_a_folder_of_texts_is_a_record_a_file(tmp_path):
    for label in ("pos", "neg"):
        (tmp_path / label).mkdir()
        for i in range(8):
            (tmp_path / label / f"{i}.txt").write_text("a review\nof two lines")
    found = scan(tmp_path)
    assert (found.samples, found.classes) == (16, 2)


def test_saved_datasets(tmp_path, records):
    datasets = pytest.importorskip("datasets")
    train = datasets.Dataset.from_list(records[:40])
    datasets.DatasetDict(train=train, test=train.select(range(9))).save_to_disk(
        str(tmp_path / "both")
    )
    found = scan(tmp_path / "both")
    assert (
        found.samples == 40
        and found.format == "arrow"
        and any("left out: test" in line.text for line in found.first_lines)
    )


def test_max_records_and_progress(tmp_path, records):
    seen = []
    found = scan(write_jsonl(tmp_path / "d.jsonl", records), max_records=100, progress=seen.append)
    assert found.sampled == 100 and found.samples == 3000 and not found.whole
    scan(tmp_path / "d.jsonl", budget=Budget(20_000, 16_000, 16, progress=seen.append))
    assert seen and seen[-1] == 1.0 and seen == sorted(seen)


def test_readers_are_found_by_themselves():
    assert {
        "jsonl",
        "json",
        "csv",
        "text",
        "parquet",
        "arrow",
        "image_folder",
        "audio_folder",
        "webdataset",
    } <= {r.format for r in registry()}
    assert ".jsonl" in supported()


def test_counting_json_lines_imports_nothing_heavy():
    code = (
        "import sys; from planner.datasets import scan; from planner import tables; "
        "scan(tables.path('examples', 'support_tickets.jsonl'));"
        "print([m for m in ('torch', 'pandas', 'pyarrow', 'datasets', 'transformers', 'PIL', "
        "'tokenizers') if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
