"""``planner data``: what was understood, shown and as JSON, for every kind of data."""

import json
import wave

import pytest

from planner.answer.data.schema import DataDocument
from planner.cli.main import run


@pytest.fixture
def planner(capsys):
    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(["data", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def document(planner, *arguments: str) -> dict:
    code, out, err = planner(*arguments, "--json", "--offline", "--quiet")
    assert (code, err) == (0, "")
    found = json.loads(out)
    DataDocument.model_validate(found)
    return found


@pytest.fixture
def chat(tmp_path):
    def record(index: int) -> dict:
        turns = [("user", f"Why is {index} odd?"), ("assistant", f"It is not: {index * 2}.")]
        messages = [{"role": role, "content": text * (1 + index % 7)} for role, text in turns]
        return {"messages": messages, "system": "Be brief and kind to everybody.", "id": index}

    file = tmp_path / "chat.jsonl"
    file.write_text("".join(json.dumps(record(i)) + "\n" for i in range(60)))
    return str(file)


def test_a_chat_is_shown_as_it_will_be_trained(planner, chat):
    code, out, _ = planner(chat, "--model", "Llama-3.2-1B", "--offline")
    assert code == 0
    assert "chat (messages, with system)" in out and "llama-3.1" in out
    # the loss is taken on the answer and the end of its turn, nothing else
    assert "[[It is not: 0.<|eot_id|>]]" in out and "[[Why" not in out
    assert "Be brief and kind to everybody." in out
    assert "Columns" in out and "messages" in out and "system" in out
    assert "█" in out and "Cut" in out and "Padded" in out and "Packed" in out
    assert max(map(len, out.splitlines())) <= 100
    assert "[[" not in planner(chat, "--quiet")[1]


def test_a_chat_as_json(planner, chat):
    found = document(planner, chat, "--model", "Llama-3.2-1B")
    assert [record["number"] for record in found["records"]] == [1, 30, 60]
    assert found["chat_template"] == found["chat_template"] | {"name": "llama-3.1", "assumed": True}
    assert sum(each["records"] for each in found["histogram"]) == 60
    assert sum(each["share"] for each in found["histogram"]) == pytest.approx(1)
    assert 0 < found["trained_share"] < 0.5
    roles = {row["column"]: row["role"] for row in found["columns"]}
    assert roles == {"messages": "conversation", "system": "system", "id": None}
    for record in found["records"]:
        assert "".join(part["text"] for part in record["segments"]).startswith("<|begin_of_text|>")
        assert any(part["trained"] for part in record["segments"])


def test_what_is_cut_is_a_share_of_records_and_tokens(planner, chat):
    whole = document(planner, chat)["lengths"]
    short = document(planner, chat, "--max-length", str(int(whole["p50"])))["batches"]
    assert 0.2 < short["cut_records_share"] < 0.6 and 0 < short["cut_tokens_share"] < 0.5
    long = document(planner, chat, "--max-length", "100000")["batches"]
    assert long["cut_records_share"] == 0 and long["cut_tokens_share"] == pytest.approx(0)
    assert document(planner, chat, "--micro-batch", "1")["batches"]["padding_share"] == 0
    padded = document(planner, chat, "--micro-batch", "30")["batches"]["padding_share"]
    assert 0.1 < padded < 0.9


def test_text_without_a_model(planner, tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("\n".join("word " * (1 + i % 40) for i in range(200)))
    found = document(planner, str(file))
    assert found["model"] is None and found["chat_template"] is None
    assert found["records"][0]["segments"][0]["trained"]
    assert "none named (--model)" in planner(str(file))[1]


def test_preference_pairs_show_prompt_and_chosen(planner, tmp_path):
    file = tmp_path / "p.jsonl"
    record = {"prompt": "Name a colour, please.", "chosen": "Red is one.", "rejected": "No, never."}
    file.write_text((json.dumps(record) + "\n") * 20)
    found = document(planner, str(file), "--model", "Qwen2.5-0.5B")
    parts = found["records"][0]["segments"]
    assert [part["trained"] for part in parts if "Red is one." in part["text"]] == [True]
    assert not any("never" in part["text"] for part in parts)
    assert {row["column"]: row["role"] for row in found["columns"]}["rejected"] == "rejected"


def test_a_pair_of_an_encoder_decoder_marks_the_target(planner, tmp_path):
    file = tmp_path / "t.jsonl"
    pairs = [(f"a long sentence, {i} times", f"ein Satz über {i} Dinge") for i in range(20)]
    lines = [{"source": source, "target": target} for source, target in pairs]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = document(planner, str(file), "--model", "t5-small")
    assert [(p["text"].strip(), p["trained"]) for p in found["records"][0]["segments"]] == [
        ("a long sentence, 0 times", False),
        ("ein Satz über 0 Dinge", True),
    ]
    assert found["target_lengths"] is not None and found["batches"]["packed_sequences"] is None


def test_classes_of_a_column_and_labels_of_records(planner, tmp_path):
    file = tmp_path / "c.jsonl"
    lines = [
        {"text": f"some words to classify, number {i}", "label": "ab"[i % 2]} for i in range(50)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = document(planner, str(file), "--model", "bert-base-uncased")
    assert found["classes"] == 2 and found["records"][0]["label"] == "a"
    assert not found["records"][0]["segments"][0]["trained"]
    assert any("2 classes" in x["text"] for x in found["first_lines"])


def test_images_and_sounds(planner, tmp_path):
    from PIL import Image

    for index, name in enumerate(("cat", "dog", "cat", "dog")):
        (tmp_path / "images" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "sounds" / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64 + index, 48)).save(tmp_path / "images" / name / f"{index}.png")
        with wave.open(str(tmp_path / "sounds" / name / f"{index}.wav"), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(8000)
            sound.writeframes(b"\0\0" * 8000 * (index + 1))
    images = document(planner, str(tmp_path / "images"), "--model", "resnet50")
    assert images["classes"] == 2 and "64 × 48" in images["records"][0]["segments"][0]["text"]
    assert any("224 × 224" in line["text"] for line in images["first_lines"])
    sounds = document(planner, str(tmp_path / "sounds"), "--model", "wav2vec2-base")
    assert sounds["audio_seconds"]["mean"] == 2.5 and sounds["batches"] is None
    assert any("mean 2.5 s" in line["text"] for line in sounds["first_lines"])
    other = document(planner, str(tmp_path / "sounds"), "--model", "gpt2")
    assert (
        "gpt2 reads text" in other["first_lines"][0]["text"] and other["first_lines"][0]["warning"]
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b'{"a": 1\n\x00\x01', "binary"),
        (b"[" * 100_000, ""),
        (b'{"n": 1}\n{"n": 2}\n', "no column holds text"),
    ],
)
def test_bad_files_end_in_one_line(planner, tmp_path, content, said):
    file = tmp_path / "bad.jsonl"
    file.write_bytes(content)
    code, out, err = planner(str(file), "--quiet")
    assert code == 2 and out == "" and err.count("\n") == 1 and said in err
    assert planner(str(tmp_path / "nowhere.jsonl"))[0] == 2


def test_texts_cannot_drive_the_terminal(planner, tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps({"text": "\x1b[2J\x07[red]words and more words[/]\nnext"}) + "\n")
    _, out, _ = planner(str(file))
    assert "\x1b" not in out and "\x07" not in out and "[red]words" in out


def test_the_estimate_names_the_command(capsys, chat):
    asked = ["estimate", "Llama-3.2-1B", chat, "--strategy", "lora", "--gpu", "l4", "--offline"]
    assert run([*asked, "--json"]) == 0
    lines = [line["text"] for line in json.loads(capsys.readouterr().out)["first_lines"]]
    assert any(line.endswith(f"(planner data {chat} shows it)") for line in lines)
