"""Sequences of proteins: FASTA files, a token an amino acid."""

import random

import pytest

from planner.datasets.readers import Budget
from planner.datasets.scanning import scan
from planner.errors import DataError
from planner.plan.inputs.problem import understand
from planner.question import Question

ACIDS = "ACDEFGHIKLMNPQRSTVWY"
WIDTH = 60


def written(tmp_path, count=40, name="p.fasta"):
    draw = random.Random(5)
    lengths = [draw.randint(30, 300) for _ in range(count)]
    lines = []
    for number, length in enumerate(lengths):
        letters = "".join(draw.choices(ACIDS, k=length))
        lines.append(f">sp|P{number:05d}|PROT_{number} some protein OS=Homo sapiens")
        lines += [letters[at : at + WIDTH] for at in range(0, length, WIDTH)]
    (tmp_path / name).write_text("\n".join(lines) + "\n")
    return tmp_path / name, lengths


@pytest.mark.parametrize("suffix", ["fasta", "fa", "faa"])
def test_an_amino_acid_is_a_token(tmp_path, suffix):
    file, lengths = written(tmp_path, name=f"p.{suffix}")
    found = scan(file, task="masked_lm", vocabulary_size=33)
    assert found.samples == len(lengths) and found.format == "fasta"
    special = 2
    assert (found.lengths == [length + special for length in lengths]).all()
    assert found.tokenizer == "a token a letter" and found.length_relative_error == 0


def test_a_sequence_at_the_end_of_a_part_is_whole(tmp_path):
    file, lengths = written(tmp_path, count=3000)
    found = scan(file, task="masked_lm", vocabulary_size=33, budget=Budget(2**16, 2**16, blocks=8))
    assert abs(found.samples / len(lengths) - 1) < 0.1
    assert found.lengths.max() <= max(lengths) + 2
    assert abs(found.mean_length / (sum(lengths) / len(lengths) + 2) - 1) < 0.1


def test_a_file_without_a_name_is_one_line(tmp_path):
    (tmp_path / "p.fasta").write_text("MKV\nLAA\n")
    with pytest.raises(DataError, match="no sequence"):
        scan(tmp_path / "p.fasta")


def test_a_protein_model_fills_masks_in_sequences(tmp_path):
    file, lengths = written(tmp_path)
    problem = understand(Question(model="esm2_t6_8M_UR50D", data=str(file), offline=True))
    assert problem.facts.task == "masked_lm"
    assert problem.data.lengths.max() == max(lengths) + 2
