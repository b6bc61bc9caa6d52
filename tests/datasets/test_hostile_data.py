"""Data that nobody should be hurt by: what has no end, what unpacks without end, what lies about
its size. Each is refused in one line, or left out and said."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import subprocess
import tarfile
import wave
import zlib

import pytest

from planner.datasets.files import locate
from planner.datasets.scanning import scan
from planner.datasets.tokenizer import TokenizerFile, TokenizerHere
from planner.errors import DataError

tokenizers = pytest.importorskip("tokenizers")


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_pipes_and_devices_are_left_out_and_said(tmp_path):
    (tmp_path / "a.png").write_bytes(png(8, 8))
    os.mkfifo(tmp_path / "b.png")
    (tmp_path / "c.png").symlink_to("/dev/zero")
    (tmp_path / "d.png").symlink_to("d.png")
    found = scan(tmp_path)
    assert found.samples == 1
    said = [line for line in found.first_lines if "no readable file" in line.text]
    assert len(said) == 1 and said[0].topic == "left_out"
    assert "3 (b.png, c.png, d.png)" in said[0].text


def test_a_pipe_is_no_file_of_data(tmp_path):
    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(DataError, match="no regular file"):
        scan(tmp_path / "a.jsonl")


@pytest.fixture
def deep_folder(tmp_path):
    """1,100 folders within each other, which pytest could not remove."""
    here, levels = os.getcwd(), 1100
    try:
        os.chdir(tmp_path)
        for _ in range(levels):
            os.mkdir("d")
            os.chdir("d")
        with open("a.jsonl", "w") as handle:
            handle.write('{"text": "x y"}\n')
        os.chdir(here)
        yield tmp_path
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)
    finally:
        os.chdir(here)


def test_a_folder_in_a_folder_a_thousand_times(deep_folder):
    assert len(locate(deep_folder)[1]) == 1


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize("levels", [200, 600, 100_000])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.tar"])
def test_values_within_values(tmp_path, name, levels):
    text = json.dumps({"text": "a b"})[:-1] + f', "x": {deep(levels)}}}\n'
    file = tmp_path / name
    if name == "a.tar":
        with tarfile.open(file, "w") as shard:
            member = tarfile.TarInfo("0.json")
            member.size = len(text)
            shard.addfile(member, io.BytesIO(text.encode()))
    else:
        file.write_text(text)
    with pytest.raises(DataError, match="nested too deeply"):
        scan(file)


def test_a_tar_whose_header_is_the_bomb(tmp_path):
    header = tarfile.TarInfo("P")
    header.size, header.type = 3 << 30, tarfile.XHDTYPE
    with (tmp_path / "a.tar").open("wb") as handle:
        handle.write(header.tobuf(tarfile.GNU_FORMAT))
        handle.truncate((3 << 30) + 1024)
    with pytest.raises(DataError, match="attributes of 3,221,225,472 bytes"):
        scan(tmp_path / "a.tar")


def test_lines_without_end_and_without_letters(tmp_path):
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(gzip.compress(b"\n" * (128 << 20), mtime=0))
    with pytest.raises(DataError, match="no record was found"):
        scan(file)


def test_blank_lines_do_not_move_the_places_of_errors(tmp_path):
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"text": "a b"}\n\n\nno record\n', mtime=0))
    with pytest.raises(DataError, match="a.jsonl.gz:4: not JSON"):
        scan(file)


def test_a_table_of_too_many_columns(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(",".join(f"c{i}" for i in range(30_000)) + "\n" + ",".join("1" * 30_000) + "\n")
    with pytest.raises(DataError, match="30,000 columns, and at most 20,000"):
        scan(file)


def test_a_small_parquet_of_one_large_text_many_times(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    column = pa.DictionaryArray.from_arrays(
        pa.array([0] * 4000, pa.int32()), pa.array(["a b c d " * (2 << 17)])
    )
    file = tmp_path / "a.parquet"
    settings = {"use_dictionary": True, "store_schema": False, "compression": "zstd"}
    pq.write_table(pa.table({"text": column}), file, **settings)
    found = scan(file)
    assert found.samples == 4000 and found.sampled < 50


def test_a_description_larger_than_any(tmp_path):
    (tmp_path / "0.png").write_bytes(png(8, 8))
    with (tmp_path / "metadata.csv").open("wb") as handle:
        handle.truncate(3 << 30)
    with pytest.raises(DataError, match="larger than 512 MiB"):
        scan(tmp_path)


def test_a_picture_as_large_as_a_bomb_warns_nobody(tmp_path, recwarn):
    (tmp_path / "0.png").write_bytes(png(10_000, 10_000))
    assert scan(tmp_path).samples == 1 and not recwarn.list


def wav(frames_said: int, frames: int, rate: int) -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(bytes(2 * frames))
    data = bytearray(made.getvalue())
    data[40:44] = struct.pack("<I", 2 * frames_said)
    return bytes(data)


def test_a_sound_that_claims_more_than_it_holds(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(10**6, 100, 16_000))
    with pytest.raises(DataError, match="1,000,000 frames, and the file holds 1"):
        scan(tmp_path)


def test_a_sound_that_was_streamed_is_as_long_as_its_file(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(0x3FFFFFFF, 16_000, 16_000))
    assert scan(tmp_path).audio_seconds.mean() == pytest.approx(1.0, rel=0.01)


def tokenizer(folder, **changes):
    model = {"type": "WordLevel", "vocab": {"a": 0, "[UNK]": 1}, "unk_token": "[UNK]"}
    written = {
        "version": "1.0",
        **dict.fromkeys(("truncation", "padding", "normalizer", "post_processor", "decoder"), None),
        "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": model,
    }
    written.update(changes)
    (folder / "tokenizer.json").write_text(json.dumps(written))
    return folder


def test_counts_apart_are_those_of_the_library(tmp_path):
    folder = tokenizer(tmp_path)
    texts = ["a a b", "", "a" * 10, "a \ud800 b"]
    apart, here = TokenizerFile(folder), TokenizerHere(folder)
    assert apart.count(texts).tolist() == [len(here.encode(text)) for text in texts]
    assert (apart.name, apart.special_tokens(False)) == (here.name, here.special_tokens(False))


def grown(times: int) -> dict:
    letters = [
        {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10} for _ in range(times)
    ]
    return {"type": "Sequence", "normalizers": letters}


HOSTILE = {
    "without a word for the unknown": (
        {"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "[UNK]"}},
        "cannot count these texts",
    ),
    "a letter that becomes 10**9": ({"normalizer": grown(9)}, "it took more than"),
    "an expression without end": (
        {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated",
                           "invert": False}},
        "cannot count these texts",
    ),
    "no tokenizer": ({"model": {"type": "none"}}, "not a tokenizer"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), HOSTILE.values(), ids=HOSTILE)
def test_tokenizers_that_fail_do_so_apart(tmp_path, changes, said):
    folder = tokenizer(tmp_path, **changes)
    with pytest.raises(DataError, match=said):
        TokenizerFile(folder).count(["b " + "a" * 40 + "b"])
