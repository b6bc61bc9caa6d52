"""JSON of every form, compressed files, tagged and labelled text: read as what they are."""

import gzip
import json

import pytest
from shapes_of_records import WORDS, text

from planner.datasets import scan
from planner.datasets.readers import Budget
from planner.datasets.readers.tagged_text import is_tagged
from planner.errors import DataError, PlannerError

RECORDS = [{"prompt": text((i, 1)), "reply": text((i, 2))} for i in range(6)]
TEXTS = [text((i, "t")) for i in range(6)]
LINES = "\n".join(map(json.dumps, RECORDS))
CHAT = [{"role": "user", "content": TEXTS[0]}, {"role": "assistant", "content": TEXTS[1]}]
FORMS = {
    "array.json": json.dumps(RECORDS),
    "array.jsonl": json.dumps(RECORDS),
    "array_by_line.jsonl": "[\n" + ",\n".join(map(json.dumps, RECORDS)) + "\n]",
    "array_indented.jsonl": json.dumps(RECORDS, indent=2),
    "objects_indented.jsonl": "\n".join(json.dumps(r, indent=2) for r in RECORDS),
    "objects_indented.json": "\n".join(json.dumps(r, indent=2) for r in RECORDS),
    "lines.json": LINES,
    "under_data.json": json.dumps({"version": 1, "data": RECORDS}),
    "under_two.json": json.dumps({"dataset": {"version": 1, "items": RECORDS}}),
    "splits.json": json.dumps({"test": RECORDS * 9, "trainset": RECORDS}),
    "columns.json": json.dumps({k: [r[k] for r in RECORDS] for k in RECORDS[0]}),
    "pandas.json": json.dumps(
        {k: {str(i): r[k] for i, r in enumerate(RECORDS)} for k in RECORDS[0]}
    ),
    "table.json": json.dumps(
        {"columns": list(RECORDS[0]), "data": [list(r.values()) for r in RECORDS]}
    ),
    "by_key.json": json.dumps({f"id-{i}": r for i, r in enumerate(RECORDS)}),
    "rows.json": json.dumps(
        {
            "features": [{"name": "x"}],
            "rows": [{"row_idx": i, "row": r} for i, r in enumerate(RECORDS)],
        }
    ),
    "columns.jsonl": json.dumps({k: [r[k] for r in RECORDS] for k in RECORDS[0]}),
}


def written(folder, name, content):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


@pytest.mark.parametrize("name", FORMS)
def test_one_dataset_in_every_form(tmp_path, name):
    expected = scan(written(tmp_path, "plain.jsonl", LINES))
    found = scan(written(tmp_path, name, FORMS[name]))
    assert found.samples == len(RECORDS) and found.whole
    assert found.lengths.tolist() == expected.lengths.tolist()
    assert found.columns["kind"] == "instruction"


@pytest.mark.parametrize(
    "name, content, samples, kind",
    [
        ("texts.json", json.dumps(TEXTS), 6, "text"),
        ("chats.json", json.dumps([CHAT] * 4), 4, "chat"),
        ("chats.jsonl", "\n".join([json.dumps(CHAT)] * 4), 4, "chat"),
        ("one.json", json.dumps({"messages": CHAT}, indent=1), 1, "chat"),
        ("ids.jsonl", "\n".join([json.dumps(list(range(30)))] * 4), 4, "ids"),
        ("named.jsonl", "\n".join([json.dumps({"tokens": list(range(30))})] * 4), 4, "ids"),
    ],
)
def test_lists_are_what_their_items_are(tmp_path, name, content, samples, kind):
    found = scan(written(tmp_path, name, content))
    assert (found.samples, found.columns["kind"]) == (samples, kind)


def test_records_in_files_of_their_own(tmp_path):
    for i, record in enumerate(RECORDS):
        written(tmp_path, f"{i}.json", json.dumps(record, indent=1))
    found = scan(tmp_path)
    assert found.samples == len(RECORDS) and found.columns["kind"] == "instruction"


def test_a_conversation_in_a_cell_of_a_table(tmp_path):
    quoted = json.dumps(CHAT).replace('"', '""')
    rows = "\n".join(f'{i},"{quoted}"' for i in range(4))
    found = scan(written(tmp_path, "d.csv", f"id,conversations\n{rows}\n"))
    assert found.columns == {"kind": "chat", "inputs": "conversations"}


def test_a_compressed_array_is_an_array(tmp_path):
    found = scan(written(tmp_path, "d.jsonl.gz", gzip.compress(json.dumps(RECORDS).encode())))
    assert found.samples == len(RECORDS)


def test_zstandard(tmp_path):
    pa = pytest.importorskip("pyarrow")
    packed = pa.compress(LINES.encode(), codec="zstd", asbytes=True)
    found = scan(written(tmp_path, "d.jsonl.zst", packed))
    assert found.lengths.tolist() == scan(written(tmp_path, "d.jsonl", LINES)).lengths.tolist()
    for name, broken in (("cut", packed[:-20]), ("odd", b"nonsense")):
        with pytest.raises(DataError, match="damaged") as caught:
            scan(written(tmp_path, f"{name}.jsonl.zst", broken))
        assert "\n" not in str(caught.value)


def test_a_large_object_of_columns_is_not_taken_for_a_list_of_texts(tmp_path):
    file = written(tmp_path, "d.json", FORMS["columns.json"])
    with pytest.raises(DataError, match="no list of records"):
        scan(file, budget=Budget(whole_bytes=50, sample_bytes=1000, blocks=2))


@pytest.mark.parametrize("content", ['[{"a" 1}]', '[{"a": 1}, ', "{", '{"a": [1]}', "[[[1]]]"])
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_broken_documents_are_refused_in_one_line(tmp_path, suffix, content):
    with pytest.raises(PlannerError) as caught:
        scan(written(tmp_path, f"d{suffix}", content))
    assert "\n" not in str(caught.value) and f"d{suffix}" in str(caught.value)


def conll(sentences, columns=2):
    lines = []
    for n in range(sentences):
        for i in range(5):
            middle = ["NNP"] * (columns - 2)
            lines.append(" ".join([WORDS[n * 5 + i], *middle, ("O", "B-PER", "B-LOC")[i % 3]]))
        lines.append("")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "name, columns", [("d.conll", 4), ("d.txt", 4), ("d.txt", 2), ("d.bio", 2)]
)
def test_tagged_tokens_are_sentences_with_their_tags(tmp_path, name, columns):
    start = "-DOCSTART- -X- -X- O\n\n" if columns == 4 else ""
    found = scan(written(tmp_path, name, start + conll(20, columns)), task="token_classification")
    assert (found.samples, found.classes, found.format) == (20, 3, "conll")
    assert found.columns == {"kind": "text", "inputs": "tokens", "label": "tags"}


def test_universal_dependencies(tmp_path):
    rows = "\n".join(f"{i}\t{WORDS[i]}\t_\tNOUN\t_\t_\t0\troot\t_\t_" for i in range(1, 6))
    found = scan(written(tmp_path, "d.conllu", f"# sent_id = 1\n{rows}\n\n" * 7))
    assert (found.samples, found.columns["label"]) == (7, "tags")


def test_large_tagged_files_are_sampled(tmp_path):
    sentences = 500
    file = written(tmp_path, "d.conll", conll(sentences, 4))
    found = scan(file, budget=Budget(whole_bytes=3000, sample_bytes=6000, blocks=12))
    assert not found.whole and abs(found.samples / sentences - 1) < 0.1


def test_prose_is_not_taken_for_tagged_tokens():
    assert not is_tagged("A line of prose.\nAnother one.\n\nAnd a third one.\n")
    assert is_tagged(conll(3))


def test_labels_of_fasttext(tmp_path):
    lines = "\n".join(f"__label__{'ab'[i % 2]} {TEXTS[i]}" for i in range(6))
    found = scan(written(tmp_path, "d.txt", lines), task="text_classification")
    assert (found.classes, found.columns["label"]) == (2, "labels")
    plain = scan(written(tmp_path, "plain.txt", "\n".join(TEXTS)), task="text_classification")
    assert found.lengths.tolist() == plain.lengths.tolist()


@pytest.mark.parametrize(
    "names, taken, said",
    [
        (["train.jsonl", "test.jsonl"], ["train.jsonl"], "left out: 1 of other splits (test)"),
        (["trainset.jsonl", "testset.jsonl"], ["trainset.jsonl"], "(test)"),
        (["train2017.jsonl", "val2017.jsonl"], ["train2017.jsonl"], "(val)"),
        (["data.jsonl", "dev.jsonl"], ["data.jsonl"], "of no named split"),
        (["train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl", "test-0.jsonl"], None, ""),
        (["test.jsonl"], ["test.jsonl"], "all files are of a test"),
        (["trainset.csv", "test.jsonl"], ["trainset.csv"], "left out: 1 jsonl"),
        (["latest.jsonl", "contest.jsonl"], ["latest.jsonl", "contest.jsonl"], ""),
    ],
)
def test_splits_go_by_name_before_size(tmp_path, names, taken, said):
    taken = names[:2] if taken is None else taken
    for name in names:
        count = 1 if name in taken else 50
        lines = [json.dumps({"text": TEXTS[0]})] * count
        lines = ["text", *[TEXTS[0]] * count] if name.endswith("csv") else lines
        written(tmp_path, name, "\n".join(lines) + "\n")
    found = scan(tmp_path)
    assert found.samples == len(taken)
    assert said in " ".join(line.text for line in found.first_lines)
