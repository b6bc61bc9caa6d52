"""What could be changed of a training: each change as fields of the question, with what it does to
what is learnt, or the reason why it does not apply."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from planner.errors import FieldName
from planner.explain.subject import Subject
from planner.plan.inputs.of_its_day import family, fused_share
from planner.plan.steps.setting import Setting
from planner.question.adapters import LORA, title_of
from planner.question.stack import DEFAULT, stack_of
from planner.question.training_setting import IN_FLOAT8
from planner.question.training_setting import LORA as ADAPTERS
from planner.training.recipe import Recipe

Effect = Literal["none", "numerics", "batches", "method"]
LIGER = "liger"
#: Precisions that trainers take, with their words.
PRECISIONS = {
    "bf16": "pure bf16: weights, gradients and optimizer in 16 bits",
    "amp_bf16": "mixed precision: bf16 products over float32 weights",
    "amp_fp16": "mixed precision: fp16 products over float32 weights",
    "tf32": "float32 with TF32 products",
    "fp32": "float32 throughout",
}
CHECKPOINTING = {
    "none": "no gradient checkpointing",
    "full": "gradient checkpointing of every block",
}
#: Ways to train that can stand in for each other, with their words.
METHODS = {
    "fine_tune": "full fine-tuning instead",
    "lora": "LoRA instead",
    "qlora": "QLoRA instead: 4-bit weights under the adapters",
}
#: Methods whose weights are loaded in few bits by themselves.
FEW_BITS = ("qlora",)


@dataclass(frozen=True)
class Try:
    """A change to ask: ``update`` of the question. ``opens``: settled fields that it chooses anew.
    ``elsewhere``: on devices other than the option's. ``why_not``: it does not apply."""

    key: str
    text: str
    update: dict[str, Any]
    effect: Effect = "none"
    opens: tuple[str, ...] = ()
    elsewhere: Literal["", "cheapest", "fastest"] = ""
    why_not: str = ""


def tries(subject: Subject) -> Iterator[Try]:
    """Every change that is thought of for the option, applicable or not."""
    for make in _MAKERS:
        yield from make(subject, subject.option.setting, subject.option.setting.recipe)


def _checkpointing(subject: Subject, setting: Setting, recipe: Recipe) -> Iterator[Try]:
    own = recipe.gradient_checkpointing
    for policy, text in CHECKPOINTING.items():
        if policy != own:
            yield Try(f"checkpointing_{policy}", text, {"gradient_checkpointing": policy})


def _micro_batch(subject: Subject, setting: Setting, recipe: Recipe) -> Iterator[Try]:
    size = setting.micro_batch
    share = size * setting.accumulation
    text = f"micro-batch {size * 2}, half as many in a step"
    up = Try("micro_batch_up", text, {"micro_batch": size * 2})
    if size * 2 > share:
        up = replace(
            up,
            text="a larger micro-batch",
            why_not=f"micro-batch {size} is already all that a device has of a global batch of "
            f"{setting.step.samples}: {FieldName('global_batch')} raises it",
        )
    yield up
    down = Try(
        "micro_batch_down",
        f"micro-batch {size // 2}, twice as many in a step",
        {"micro_batch": size // 2},
    )
    if size == 1:
        down = replace(down, text="a smaller micro-batch", why_not="it is 1 already")
    yield down


def _fused(subject: Subject, setting: Setting, recipe: Recipe) -> Iterator[Try]:
    one = Try(
        "fused_loss",
        "Liger's fused kernels, with a loss that holds no logits",
        {"stack": LIGER},
        "numerics",
    )
    stack, facts = stack_of(subject.question.stack), setting.source.facts
    if LIGER in stack.line or fused_share(stack, facts) != 1.0:
        one = replace(one, why_not=f"{stack.title} has fused kernels already")
    elif fused_share(stack_of(LIGER), facts) == 1.0:
        known = (stack_of(LIGER).word("fused_families") or "").split()
        one = replace(
            one,
            why_not=f"its kernels are written for {', '.join(known)}, not for {family(facts)}",
        )
    elif stack.trainer != DEFAULT or stack.year is not None:
        one = replace(
            one, why_not=f"the question asks for {stack.text}, and Liger runs in {DEFAULT} of today"
        )
    yield one


def _method(subject: Subject, setting: Setting, recipe: Recipe) -> Iterator[Try]:
    own = subject.option.strategy
    for name, text in METHODS.items():
        if name == own:
            continue
        if name in ADAPTERS and subject.question.adapter not in (None, LORA):
            text = f"{title_of(name, subject.question.adapter)} instead"
        update: dict[str, Any] = {"strategy": [name]}
        if recipe.float8 and name not in IN_FLOAT8:
            update |= {"float8": None, "float8_layers": None}
        one = Try(f"method_{name}", text, update, "method", opens=("precision",))
        if own not in METHODS:
            words = own.replace("_", " ")
            one = replace(one, why_not=f"{words} learns something else than adapters of the model")
        yield one


def _optimizer(subject: Subject, setting: Setting, recipe: Recipe) -> Iterator[Try]:
    if not recipe.optimizer.startswith("adam"):
        for key, text in (("optimizer_8bit", "8-bit AdamW"), ("optimizer_fused", "fused AdamW")):
            yield Try(key, text, {}, why_not=f"the optimizer is {recipe.optimizer}, not AdamW")
        return
    one = Try(
        "optimizer_8bit",
        "AdamW with moments in 8 bits (bitsandbytes)",
        {"optimizer": "adamw_8bit"},
        "numerics",
    )
    yield (
        replace(one, why_not="its moments have 8 bits already")
        if "8bit" in (recipe.optimizer)
        else one
    )
    one = Try("optimizer_fused", "AdamW as one kernel (fused)", {"optimizer": "adamw_fused"})
    yield (
        replace(one, why_not="it is one kernel already")
        if recipe.optimizer
        in (
            "adamw_fused",
            "adamw_8bit",
        )
        else one
    )


def _compiled(subject: Subject, setting: Setting, recipe: Recipe) -> Iterator[Try]:
    if recipe.compile:
        yield Try("compile_off", "without torch.compile", {"compile": False}, "numerics")
    else:
        yield Try("compile", "torch.compile", {"compile": True}, "numerics")


def _float8(subject: Subject, setting: Setting, recipe: Recipe) -> Iterator[Try]:
    """Beside torch.compile, without which it slows a step."""
    if recipe.float8:
        off = {"float8": None, "float8_layers": None}
        yield Try("float8_off", "products in 16 bits instead of float8", off, "numerics")
        return
    one = Try("float8", "products in float8, tensorwise", {"float8": "tensorwise"}, "numerics")
    if subject.option.strategy not in IN_FLOAT8 or recipe.objective is not None:
        return
    if not subject.option.rented.spec.supports("fp8"):
        one = replace(one, why_not=f"{subject.option.rented.spec.name} has none")
    elif not recipe.compile:
        one = replace(one, why_not="without torch.compile its casts take longer than they save")
    yield one


def _padding(subject: Subject, setting: Setting, recipe: Recipe) -> Iterator[Try]:
    own = subject.option.choices.padding
    packed = Try(
        "packing",
        "packing: sequences filled to the maximum length, no padding",
        {"padding": "packed"},
        "batches",
        opens=("micro_batch", "global_batch"),
    )
    if setting.batches.mean_padded_length is None:
        packed = replace(packed, why_not="its samples have one size, there is nothing to pack")
    elif recipe.task != "causal_lm":
        packed = replace(packed, why_not=f"samples of {recipe.task} are not strung together")
    elif own == "packed":
        packed = replace(
            packed,
            key="packing_off",
            text="no packing: each batch padded to its longest sample",
            update={"padding": "longest"},
        )
    yield packed
    yield from _grouping(subject, setting)


def _grouping(subject: Subject, setting: Setting) -> Iterator[Try]:
    """Batches of samples alike in length: less padding, less chance in the order."""
    choices = subject.option.choices
    one = Try(
        "group_by_length",
        "batches of samples alike in length",
        {"group_by_length": True},
        "batches",
    )
    if choices.group_by_length:
        one = Try(
            "group_by_length_off",
            "batches in any order of length",
            {"group_by_length": False},
            "batches",
        )
    elif setting.batches.mean_padded_length is None:
        one = replace(one, why_not="its samples have one size, there is nothing to group")
    elif choices.padding == "free":
        one = replace(one, why_not="its batches hold no padding")
    elif choices.padding != "longest":
        one = replace(one, why_not=f"samples are {choices.padding}, not padded to their batch")
    yield one


def _precision(subject: Subject, setting: Setting, recipe: Recipe) -> Iterator[Try]:
    spec = subject.option.rented.spec
    for name, text in PRECISIONS.items():
        if name == recipe.precision or name == "fp32":
            continue
        one = Try(f"precision_{name}", text, {"precision": name}, "numerics")
        if not spec.supports(name):
            one = replace(one, why_not=f"{spec.name} does not compute in it")
        elif subject.option.strategy in FEW_BITS or recipe.load_in:
            one = replace(one, why_not="the weights are in few bits, the rest is small")
        yield one


def _attention(subject: Subject, setting: Setting, recipe: Recipe) -> Iterator[Try]:
    for name in ("sdpa", "flash"):
        if name != recipe.attention:
            text = f"attention by {name}"
            yield Try(f"attention_{name}", text, {"attention": name}, "numerics")


def _evaluation(subject: Subject, setting: Setting, recipe: Recipe) -> Iterator[Try]:
    one = Try("no_evaluation", "no evaluation during the run", {"evaluations_per_epoch": 0})
    if not subject.option.run.parts_hours.get("evaluation"):
        one = replace(one, why_not="the run evaluates nothing")
    yield one


def _devices(subject: Subject, setting: Setting, recipe: Recipe) -> Iterator[Try]:
    option, question = subject.option, subject.question
    count = option.rented.parallel.devices
    yield Try("gpus_up", f"{2 * count} GPUs instead of {count}", {"gpus": 2 * count})
    spot = Try("spot", "spot prices: cheaper, and can be taken away", {"spot": True})
    if question.spot:
        spot = replace(spot, why_not="it runs on spot already")
    elif question.price is not None or question.owned_usd is not None:
        spot = replace(spot, why_not="the price is the question's own")
    yield spot
    asked_price = question.price is not None or question.owned_usd is not None
    for which in ("cheapest", "fastest"):
        text = f"the {which} other GPU that can be rented"
        if asked_price:
            text += ", at its table price"
        open_fields = {"gpu": None, "price": None, "owned_usd": None, "owned_years": None}
        open_fields |= {"owned_utilisation": None, "usd_per_kwh": None, "exact": False}
        yield Try(f"gpu_{which}", text, open_fields, opens=("micro_batch",), elsewhere=which)


_Maker = Callable[[Subject, Setting, Recipe], Iterator[Try]]
#: In the order in which ties stand.
_MAKERS: tuple[_Maker, ...] = (
    _checkpointing,
    _micro_batch,
    _fused,
    _method,
    _optimizer,
    _compiled,
    _float8,
    _padding,
    _precision,
    _attention,
    _evaluation,
    _devices,
)
