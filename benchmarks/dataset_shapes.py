"""Dataset shapes as people have them: the tokens that the planner counts against those that the
trainer's own rendering yields.

    python benchmarks/dataset_shapes.py [--records N] [--seed N]

For each shape, N records are written as a file, and the messages that a trainer makes of them are
written down beside it by hand, shape by shape. A model's folder is laid out as a hub snapshot is: a
config, a byte-level BPE tokenizer that is trained here on the texts, and a chat template. The truth
is transformers' ``apply_chat_template`` (or the tokenizer's own call on texts and pairs); the
planner's count is what ``planner estimate FOLDER FILE`` would count. Exit code 1 when a shape is
off by more than 3 %.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.shapes import conversations, other_columns  # noqa: E402
from benchmarks.shapes.files import snapshot, written  # noqa: E402
from benchmarks.shapes.shape import SHAPES, Made, Shape, Writer  # noqa: E402

#: The files that declare the shapes.
DECLARING = conversations, other_columns
TOLERANCE = 0.03


def truth(made: Made, tokenizer: Any) -> int:
    """Tokens that the trainer's collator gets of one record; both sides of an encoder-decoder."""
    if made.tokens is not None:
        return made.tokens
    if made.sides is not None:
        return sum(len(tokenizer(side)["input_ids"]) for side in made.sides)
    if made.talk is None:
        ends = 0 if tokenizer.chat_template is None else 1  # a document's end
        return len(tokenizer(*made.texts)["input_ids"]) + ends
    messages, tools = made.talk
    text = tokenizer.apply_chat_template(messages, tools=tools or None, tokenize=False)
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


def counted(folder: Path, file: Path) -> tuple[float, list[str]]:
    """(mean tokens a record by the planner, its warnings)."""
    from planner.plan.inputs.problem import understand
    from planner.question import Question

    problem = understand(Question(model=str(folder), data=str(file), offline=True))
    data = problem.data
    sides = [a.mean() for a in (data.lengths, data.target_lengths) if a is not None]
    warnings = [line.text for line in problem.first_lines if line.warning]
    return float(sum(sides)) * data.samples, warnings


def row(kind: Shape, records: int, seed: int) -> tuple[str, float, float, list[str]]:
    """(shape, tokens a record that are counted, true ones, warnings)."""
    writer = Writer(seed)
    made = [kind.make(writer) for _ in range(records)]
    with tempfile.TemporaryDirectory() as name:
        tokenizer = snapshot(kind, Path(name) / "model")
        file = written(kind, made, Path(name))
        tokens, warnings = counted(Path(name) / "model", file)
    true = sum(truth(item, tokenizer) for item in made)
    return kind.name, tokens / records, true / records, warnings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--records", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="shapes whose name holds this")
    asked_for = parser.parse_args()
    missed = 0
    print(f"{'shape':52} {'counted':>9} {'true':>9} {'off':>7}")
    for kind in SHAPES:
        if asked_for.only not in kind.name:
            continue
        try:
            name, tokens, true, warnings = row(kind, asked_for.records, asked_for.seed)
        except Exception as error:
            missed += 1
            print(f"{kind.name:52} {type(error).__name__}: {error}")
            continue
        off = tokens / true - 1
        missed += abs(off) > TOLERANCE
        mark = " MISSED" if abs(off) > TOLERANCE else ""
        print(f"{name:52} {tokens:9.1f} {true:9.1f} {off:+7.1%}{mark}")
        for line in warnings:
            print(f"    ! {line}")
    print(f"{len(SHAPES)} shapes, {missed} missed by more than {TOLERANCE:.0%}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
