"""What is added by a file: a strategy, a dataset format, an output format, a config importer."""

import json

from outside import QUESTION, answer, drop, planner

STRATEGY = '''
"""Biases alone train (Ben Zaken et al. 2021, BitFit)."""

from planner.training.strategy import Strategy, freeze, plain


def apply(built, recipe, build):
    total = sum(p.numel() for p in built.module.parameters())
    freeze(built.module)
    biases = [p for name, p in built.module.named_parameters() if name.endswith("bias")]
    for bias in biases:
        bias.requires_grad_(True)
    prepared = plain(built, biases)
    prepared.total_parameters = total
    return prepared


STRATEGY = Strategy("toy_biases", "biases", "biases alone", apply, order=35)
'''


def test_a_strategy_is_one_file(tmp_path):
    folder = drop(tmp_path, "strategies", "toy_biases.py", STRATEGY)
    added = {"folders": [("planner.training.strategies", folder)]}
    done = planner(tmp_path, "estimate", *QUESTION, "--strategy", "toy-biases", "--json", **added)
    (option,) = answer(done)["options"]
    assert option["strategy"] == "toy_biases" and option["model"]["trainable_params"] == 16 + 10
    assert option["cost"]["usd"]["p50"] > 0
    text = " ".join(planner(tmp_path, "estimate", "--help", **added).stdout.split())
    assert "fine_tune, toy_biases, lora" in text
    shown = planner(tmp_path, "estimate", *QUESTION, "--strategy", "toy_biases", **added)
    assert shown.returncode == 0 and "toy_biases" in shown.stdout


READER = '''
"""Texts parted by bars."""

from planner.datasets.readers import Reader, Sample


def read(files, root, budget):
    texts = [t for file in files for t in file.read_text(encoding="utf-8").split("|") if t]
    return Sample("toy", [{"text": t} for t in texts], len(texts), whole=True)


READER = Reader("toy", (".bars",), read, hint="texts parted by bars")
'''


def test_a_dataset_format_is_one_file(tmp_path):
    (tmp_path / "train.bars").write_text("|".join(["a few words of text"] * 37))
    folder = drop(tmp_path, "readers", "toy.py", READER)
    arguments = ("estimate", "gpt2", "train.bars", "--gpu", "t4", "--strategy", "fine_tune")
    assert planner(tmp_path, *arguments).returncode == 2
    done = planner(tmp_path, *arguments, "--json", folders=[("planner.datasets.readers", folder)])
    found = answer(done)["dataset"]
    assert found["samples"] == 37 and found["format"] == "toy"


FORMAT = '''
"""One line an option."""

from planner.report.formats.registry import Format


def lines(answer):
    return "".join(f"{o['strategy']}: {o['cost']['usd']['p50']}\\n" for o in answer["options"])


FORMATS = (Format("answer", ".toy", lines, order=90),)
'''


def test_an_output_format_is_one_file(tmp_path):
    folder = drop(tmp_path, "formats", "toy.py", FORMAT)
    added = {"folders": [("planner.report.formats", folder)]}
    arguments = ("report", *QUESTION, "--strategy", "fine_tune", "-o")
    assert planner(tmp_path, *arguments, "budget.toy").returncode == 2
    done = planner(tmp_path, *arguments, "budget.toy", **added)
    assert done.returncode == 0, done.stderr
    strategy, usd = (tmp_path / "budget.toy").read_text().split(": ")
    assert strategy == "fine_tune" and float(usd) > 0
    assert "or .toy" in planner(tmp_path, *arguments, "budget.odt", **added).stderr
    assert "budget.toy" in planner(tmp_path, "report", "--help", **added).stdout


def test_a_picture_format_is_one_file(tmp_path):
    """The same registry, asked by another command."""
    text = (
        "from planner.report.formats.registry import Format\n"
        "FORMATS = (Format('picture', '.toy', lambda figure: b'toy', order=90),)\n"
    )
    folder = drop(tmp_path, "formats", "toy.py", text)
    refused = planner(tmp_path, "validate", "published", "--plot", "picture.gif")
    assert "Use .png or .svg" in refused.stderr and ".toy" not in refused.stderr
    known = planner(
        tmp_path,
        *("validate", "published", "--plot", "picture.gif"),
        folders=[("planner.report.formats", folder)],
    )
    assert "Use .png or .svg or .toy" in known.stderr


IMPORTER = '''
"""A toy trainer's YAML."""

from planner.question.importers import Importer, Keys


def read(document, gpus):
    keys = Keys(document)
    keys.put("model", keys.take("toy_model"), "toy_model")
    keys.put("samples", keys.take("toys"), "toys")
    keys.put("task", "image_classification", "toy_model")
    keys.put("strategy", ["fine_tune"], "toy_model")
    keys.put("global_batch", 4 * gpus, "toys")
    return keys.imported(without_cost=("toy_colour",))


IMPORTER = Importer("toybox", lambda keys: "toy_model" in keys, read)
'''


def test_a_config_importer_is_one_file(tmp_path):
    folder = drop(tmp_path, "importers", "toybox.py", IMPORTER)
    (tmp_path / "toys.yml").write_text(
        "toy_model: own:make\ntoys: 500\ntoy_colour: red\ntoy_engine: 4\n"
    )
    added = {"folders": [("planner.question.importers", folder)]}
    arguments = ("estimate", "toys.yml", "--gpu", "t4", "--gpus", "2", "--json")
    assert "unknown key 'toy_model'" in planner(tmp_path, *arguments).stderr
    document = answer(planner(tmp_path, *arguments, **added))
    assert document["dataset"]["samples"] == 500 and document["question"]["global_batch"] == 8
    (warning,) = [line for line in document["warnings"] if "toybox" in line]
    assert "toy_engine 4" in warning and "toy_colour" not in warning


def test_what_an_imported_file_gets_wrong_is_refused_at_its_line(tmp_path):
    folder = drop(tmp_path, "importers", "toybox.py", IMPORTER)
    (tmp_path / "toys.yml").write_text("toy_model: own:make\ntoys: many\n")
    done = planner(
        tmp_path,
        *("estimate", "toys.yml", "--gpu", "t4"),
        folders=[("planner.question.importers", folder)],
    )
    assert done.returncode == 2
    assert "toys.yml line 2: toys: 'many' is not a whole number" in done.stderr


def test_the_answer_of_an_addition_is_of_the_schema(tmp_path):
    """A document with a strategy that the program did not know is read back as an answer."""
    folder = drop(tmp_path, "strategies", "toy_biases.py", STRATEGY)
    added = {"folders": [("planner.training.strategies", folder)]}
    done = planner(tmp_path, "estimate", *QUESTION, "--strategy", "toy_biases", "--json", **added)
    (tmp_path / "answer.json").write_text(json.dumps(answer(done)))
    report = planner(tmp_path, "report", "answer.json", "-o", "budget.md", **added)
    assert report.returncode == 0 and "toy_biases" in (tmp_path / "budget.md").read_text()
