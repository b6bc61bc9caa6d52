"""Does any model trace? Architectures drawn by seed, each asked as a user would.

    python benchmarks/drawn_architectures.py --seed 1
    python benchmarks/drawn_architectures.py --seed 1 --transformers 30 --timm 60
    python benchmarks/drawn_architectures.py --only detection
    python benchmarks/drawn_architectures.py --named bert:BertForMaskedLM timm:levit_128
    python benchmarks/drawn_architectures.py --write docs/drawn_architectures.md
    python benchmarks/drawn_architectures.py --kept drawn.jsonl    # answers that are kept

``transformers``: a model type of the installed release and one of the classes that its auto
mappings train it by, both uniformly; the type's default config is written as a folder with that
class in ``architectures``. A type of whose default config transformers itself builds no model is
passed over, the next one drawn stands in its place, and both are told. ``timm``: names of
``timm.list_models()``. ``detection``: every model of ``torchvision.models.detection``. Each is
asked for full fine-tuning on one GPU, in a process beside this one with ``--limit`` seconds.
Prints one line each, then how many of the drawn are answered, and the refusals. Leaves with 1
where one crashed, hung or ended in a traceback. With ``--kept`` every outcome is kept as it comes,
so that a stop loses none: what was answered is not asked again. ``--also 2 3`` draws of
transformers at those seeds too, of which the counts and the refusals are told.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.coverage import GIB, GPU, TROUBLE  # noqa: E402
from benchmarks.drawn_page import Drawn, Outcome, document, show, summary  # noqa: E402
from benchmarks.isolated import Worker  # noqa: E402
from benchmarks.kept import Kept  # noqa: E402

GROUPS = ("transformers", "timm", "detection")
#: Mappings that train nothing by themselves, or repeat another one.
NOT_TRAINED = ("BACKBONE", "TEXT_ENCODING", "AUDIO_TOKENIZATION", "PRETRAINING")
#: A question's data by what a sample is.
DATA = {
    "text": {"tokens_per_sample": 64, "target_tokens_per_sample": 32},
    "image": {},
    "image_text": {"tokens_per_sample": 64},
    "audio": {"seconds_per_sample": 4},
    "series": {},
    "table": {},
}
SAMPLES = 10_000


# ---- drawing; in a process of its own, as it imports the libraries


def pool(group: str) -> list[str] | dict[str, list[str]]:
    """Names of timm and torchvision; of transformers the classes by model type."""
    from planner.libraries import import_library

    if group == "transformers":
        return _classes()
    library = import_library("timm" if group == "timm" else "torchvision", "drawing architectures")
    if group == "timm":
        return [f"timm:{name}" for name in library.list_models()]
    module = library.models.detection
    return [f"torchvision:{name}" for name in library.models.list_models(module=module)]


def _classes() -> dict[str, list[str]]:
    """Model type → the classes that train it, of every ``MODEL_FOR_…_MAPPING_NAMES``."""
    from planner.libraries import import_library

    transformers = import_library("transformers", "drawing architectures")
    auto = transformers.models.auto.modeling_auto
    found: dict[str, set[str]] = {}
    for name, mapping in vars(auto).items():
        trains = name.startswith("MODEL_FOR_") and name.endswith("_MAPPING_NAMES")
        if not trains or any(part in name for part in NOT_TRAINED):
            continue
        for model_type, classes in mapping.items():
            first = (classes,) if isinstance(classes, str) else tuple(classes)
            found.setdefault(model_type, set()).update(first)
    known = transformers.CONFIG_MAPPING
    return {kind: sorted(classes) for kind, classes in sorted(found.items()) if kind in known}


def draw(group: str, seed: int, count: int) -> list[str]:
    """``count`` names of a group, fewer where there are fewer; all detection models."""
    names, chance = pool(group), random.Random(f"{group} {seed}")
    if isinstance(names, dict):
        kinds = chance.sample(sorted(names), min(count, len(names)))
        return [f"{kind}:{chance.choice(names[kind])}" for kind in kinds]
    return sorted(names) if group == "detection" else chance.sample(names, min(count, len(names)))


def draw_more(seed: int, drawn: Sequence[str], count: int) -> list[str]:
    """Names of transformers in whose place others were passed over, of other model types."""
    names, chance = _classes(), random.Random(f"transformers {seed} more")
    left = sorted(set(names) - {name.partition(":")[0] for name in drawn})
    return [f"{kind}:{chance.choice(names[kind])}" for kind in chance.sample(left, count)]


# ---- asking


def ask(drawn: Drawn) -> Outcome:
    """One model; runs in a process of its own."""
    begun = time.monotonic()
    return replace(_answer(drawn), waited=round(time.monotonic() - begun, 1))


def _answer(drawn: Drawn) -> Outcome:
    from planner.errors import PlannerError

    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with tempfile.TemporaryDirectory() as folder:
        try:
            if drawn.group == "transformers" and (said := _not_built(drawn.name)):
                return Outcome(no_model=said)
            if drawn.group != "transformers":
                return _asked(drawn.name)
            return _asked(_folder(drawn.name, Path(folder)))
        except PlannerError as error:
            words = " ".join(str(error).split())
        except Exception as error:  # what no user may see: shown as such
            words = f"TRACEBACK {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return Outcome(refusal=words.replace(folder + os.sep, ""))


def _folder(name: str, where: Path) -> str:
    """A folder as a checkpoint of that class has it: the type's default config."""
    from planner.libraries import import_library

    kind, _, class_name = name.partition(":")
    transformers = import_library("transformers", "drawing architectures")
    config = transformers.CONFIG_MAPPING[kind]()
    config.architectures = [class_name]
    folder = where / kind
    folder.mkdir()
    config.to_json_file(folder / "config.json", use_diff=False)
    return str(folder)


def _not_built(name: str) -> str | None:
    """What transformers fails with where it builds a type's own default config, on meta and with
    nothing of this program's; None where it builds it."""
    import torch

    from planner.libraries import import_library

    kind, _, class_name = name.partition(":")
    transformers = import_library("transformers", "drawing architectures")
    try:
        with torch.device("meta"):
            getattr(transformers, class_name)._from_config(transformers.CONFIG_MAPPING[kind]())
    except NotImplementedError:  # a constructor that computes, which meta cannot
        return None
    except Exception as error:  # whatever the library raises
        if "meta" in str(error):
            return None
        return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return None


def _asked(model: str) -> Outcome:
    from planner import estimate
    from planner.models.resolve import resolve

    facts = resolve(model, offline=True)
    fields = DATA.get(facts.modality, {})
    answer = estimate(
        model, strategy=["fine_tune"], gpu=GPU, samples=SAMPLES, offline=True, **fields
    )
    option = answer["options"][0]
    peak = option["memory"]["device_used_bytes"]["p50"] / GIB
    step = option["step"]
    seconds = step["seconds"]["p50"]
    share = step["unmodelled_share"]
    return Outcome(
        f"{facts.task}: {peak:.1f} GiB, {seconds:.3g} s × {step['micro_batch_size']}"
        + (f"; {share:.1%} of its time unmodelled" if share > 0.001 else "")
    )


# ---- what was answered before


def kept_outcomes(file: Path | None) -> Kept:
    """Outcomes by what was drawn; what was refused is asked again."""
    return Kept(file, lambda plain: Outcome(**plain), lambda outcome: bool(outcome.refusal))


def _key(drawn: Drawn) -> str:
    return f"{drawn.group} {drawn.name}"


def answers(
    drawn: Sequence[Drawn], kept: Kept, limit: float, more: Sequence[Drawn] = ()
) -> Iterator[tuple[Drawn, Outcome]]:
    """Each with its outcome, kept or asked now. ``more`` stand in for those passed over."""
    worker, waiting, left = Worker(ask, limit), list(drawn), list(more)
    try:
        while waiting:
            each = waiting.pop(0)
            outcome = kept.get(_key(each))
            if outcome is None:
                found, failure = worker(each)
                outcome = found if failure is None else Outcome(refusal=failure, waited=limit)
                kept.put(_key(each), outcome)
            if outcome.no_model and left:
                waiting.insert(0, left.pop(0))
            yield each, outcome
    finally:
        worker.end()


def main() -> int:
    options, asked = _arguments(), {}
    for seed in (options.seed, *(options.also or ())):
        asked[seed] = _asked_at(seed, options)
        if asked[seed] is None:
            return 1
        print(summary(asked[seed]))
    every = [outcome for outcomes in asked.values() for _, outcome in outcomes]
    if options.write:
        from planner.cli.writing import write

        main_one = asked.pop(options.seed)
        write(options.write, document(main_one, _asked_as(options), asked))
    return 1 if any((outcome.refusal or "").startswith(TROUBLE) for outcome in every) else 0


def _asked_at(seed: int, options: argparse.Namespace) -> list[tuple[Drawn, Outcome]] | None:
    """What is drawn by a seed, each asked; None where drawing fails, which is told. Of the other
    seeds transformers alone, whose classes differ most."""
    groups = options.only or GROUPS
    if seed != options.seed:
        groups = [group for group in groups if group == "transformers"]
    many = {"transformers": options.transformers, "timm": options.timm, "detection": 0}
    drawer = Worker(_draw, 600.0)
    found, failure = drawer((groups, seed, many, options.named))
    drawer.end()
    if failure is not None:
        print(f"drawn_architectures: drawing failed: {failure}", file=sys.stderr)
        return None
    (drawn, more), outcomes = found, []
    for each, outcome in answers(drawn, kept_outcomes(options.kept), options.limit, more):
        outcomes.append((each, outcome))
        print(show(each, outcome), flush=True)
    return outcomes


def _asked_as(options: argparse.Namespace) -> str:
    """The command that draws the same, in words."""
    parts = [f"--seed {options.seed}"]
    parts += [f"--also {' '.join(map(str, options.also))}"] if options.also else []
    parts += [f"--only {' '.join(options.only)}"] if options.only else []
    parts += [f"--named {' '.join(options.named)}"] if options.named else []
    return f"python benchmarks/drawn_architectures.py {' '.join(parts)} --write {options.write}"


def _draw(
    asked: tuple[Sequence[str], int, dict[str, int], Sequence[str] | None],
) -> tuple[list[Drawn], list[Drawn]]:
    """(what is drawn, what stands in for those that are passed over)."""
    groups, seed, many, named = asked
    if named:
        return [Drawn(_group_of(name), name) for name in named], []
    drawn = [Drawn(group, name) for group in groups for name in draw(group, seed, many[group])]
    own = [each.name for each in drawn if each.group == "transformers"]
    more = draw_more(seed, own, len(own)) if own else []
    return drawn, [Drawn("transformers", name) for name in more]


def _group_of(name: str) -> str:
    prefix = name.partition(":")[0]
    return {"timm": "timm", "torchvision": "detection"}.get(prefix, "transformers")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--also", type=int, nargs="*", metavar="SEED")
    parser.add_argument("--transformers", type=int, default=30, metavar="N")
    parser.add_argument("--timm", type=int, default=60, metavar="N")
    parser.add_argument("--only", nargs="*", choices=GROUPS)
    parser.add_argument("--named", nargs="*", metavar="NAME")
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--kept", type=Path, metavar="FILE")
    parser.add_argument("--limit", type=float, default=120.0, metavar="SECONDS")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
