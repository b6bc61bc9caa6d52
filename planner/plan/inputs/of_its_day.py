"""What a stack runs where the question does not say: its attention and its optimizer, by the rows
of ``profiles/stacks``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from planner import tables
from planner.datasets.batching import FREE
from planner.errors import FieldName
from planner.first_lines import FirstLine
from planner.memory.averaging import averaged
from planner.memory.fused_loss import in_pieces, in_tiles
from planner.memory.inputs_kept import OPERATIONS, kept
from planner.models.facts import ModelFacts
from planner.models.quantization.stored import FOUR_BITS
from planner.question import Question
from planner.question.stack import Stack, stack_of
from planner.question.training_setting import SUPERVISED
from planner.step_time.clock import StackKernels
from planner.trace.source import View
from planner.trace.table import StepTrace
from planner.training.recipe import Recipe

#: The word of a stack whose loss holds no logits.
IN_PIECES = "in_pieces"
#: The word of an objective whose trainer makes tiles of its logits alone.
IN_TILES = "in_tiles"
#: The word of a stack whose autograd keeps what an operation read.
KEPT = "kept"
#: What is traced where no row says otherwise: the installed libraries' own.
INSTALLED = {"attention": "sdpa", "optimizer": "adamw"}


@dataclass(frozen=True)
class OfItsDay:
    """The settings of a recipe that a stack decides; ``changed``: in words, what is not today's.
    ``quantised_inputs``: kept, where 4-bit layers keep what they read for the backward pass."""

    attention: str
    optimizer: str
    quantised_inputs: str | None = None
    changed: tuple[str, ...] = ()


def of_its_day(question: Question, facts: ModelFacts) -> OfItsDay:
    """Settled by the question, else by its stack. Raises QuestionError for an unknown stack."""
    stack = stack_of(question.stack)
    attention, optimizer = _attention(question, facts, stack), _optimizer(question, stack)
    changed = []
    if attention != question.attention:
        changed.append(f"{attention} attention")
    if optimizer != (question.optimizer or INSTALLED["optimizer"]):
        changed.append(f"the optimizer {optimizer}")
    are_kept = stack.word("quantised_inputs") == KEPT
    return OfItsDay(attention, optimizer, KEPT if are_kept else None, tuple(changed))


def _attention(question: Question, facts: ModelFacts, stack: Stack) -> str:
    if "attention" in question.model_fields_set:
        return question.attention
    if question.padding == FREE:
        return "flash"  # lengths that vary within a row are its kernels' alone
    own = f"attention.{family(facts)}"
    return stack.word(own if stack.knows(own) else "attention") or INSTALLED["attention"]


def _optimizer(question: Question, stack: Stack) -> str:
    """What is asked or taken by default, in the form that it had then."""
    name = question.optimizer or stack.word("optimizer") or INSTALLED["optimizer"]
    return stack.word(f"optimizer.{name}") or name


def family(facts: ModelFacts) -> str:
    """transformers' model type, else the library: as rows name what has an attention of its own."""
    return (facts.config or {}).get("model_type") or facts.library


def stack_lines(question: Question, facts: ModelFacts) -> list[FirstLine]:
    """The stack by its name, and what of the run is not as today's."""
    stack, found = stack_of(question.stack), of_its_day(question, facts)
    changed = list(found.changed)
    share = fused_share(stack, facts)
    if share != 1.0 and question.kernels is None:
        changed.append(
            f"kernels that leave {share:.0%} of the time of all but products (our prior)"
        )
    speed = stack_kernels(stack, facts).attention_speed
    if speed != 1.0 and found.attention != "eager":
        changed.append(f"fused attention at {speed:.0%} of today's speed")
    if (question.task or facts.task) == "causal_lm" and (
        question.kernels is None and _holds_no_logits(stack, facts)
    ):
        changed.append("a loss that holds no logits")
    elif question.loss is None and holds_tiles(stack, question.objective, facts, question.task):
        changed.append("a loss that works through the logits in tiles")
    if _kept_inputs(stack):
        named = " and ".join(name.removesuffix("_input") for name in _kept_inputs(stack))
        changed.append(f"the inputs of {named} kept for the backward pass")
    if found.quantised_inputs and _has_four_bits(question, facts):
        changed.append("the inputs of 4-bit layers kept for the backward pass")
    script = script_of(question, facts)
    text = f"runs as {stack.title} of {stack.day}"
    if script is not None:
        text = f"runs as {script}, its loop priced as that of {stack.title} of {stack.day}"
    text += f", with {' and '.join(changed)}" if changed else ""
    own = stack.word("precision")
    if own and question.precision is None and script is None:
        text += (
            f" (its scripts train in {own} without a flag, which is not taken for granted: "
            f"{FieldName('precision')})"
        )
    return [FirstLine("stack", f"{text}; {FieldName('stack')} changes it")]


def _has_four_bits(question: Question, facts: ModelFacts) -> bool:
    """Whether bitsandbytes' 4-bit layers are among what is asked."""
    if facts.quantization is not None and facts.quantization.known:
        return facts.quantization.method == FOUR_BITS
    return question.load_in == "4bit" or "qlora" in (question.strategy or ("qlora",))


def script_of(question: Question, facts: ModelFacts) -> str | None:
    """The script that trains models of this library where no stack is asked for; None where that
    is the stack itself."""
    task = question.task or facts.task
    if question.stack is not None:
        return None
    rows = [row for row in tables.rows("stacks", "scripts.csv") if row["library"] == facts.library]
    return next((row["script"] for row in rows if row["task"] in (task, "any")), None)


def view_of(
    stack: Stack, facts: ModelFacts, recipe: Recipe, averages: str | None = None
) -> View | None:
    """How the stack's step is seen: its loss in pieces where its kernels hold no logits of this
    family, and what torch of its day kept for the backward pass; with the averages of weights that
    are kept beside it. None as it was recorded."""
    is_fused = recipe.task == "causal_lm" and _holds_no_logits(stack, facts)
    seen = _stack_view(stack, facts, recipe, is_fused=is_fused)
    return seen if averages is None else _with_averages(seen, averages)


@cache
def _with_averages(view: View | None, how: str) -> View:
    return lambda trace: averaged(trace if view is None else view(trace), how)


def _stack_view(stack: Stack, facts: ModelFacts, recipe: Recipe, *, is_fused: bool) -> View | None:
    inputs, objective = _kept_inputs(stack), recipe.objective
    if objective is None:
        tiled = not is_fused and recipe.loss is None
        if tiled and holds_tiles(stack, None, facts, recipe.task):
            return _tiled(recipe.strategy == "fine_tune", inputs)
        return _view(is_fused, inputs, ())
    fusing = stack.word("loss_objectives")
    if is_fused and (fusing is None or objective in fusing.split()):
        own = stack.word(f"head_gradients.{objective}")
        gradients = own or stack.word("head_gradients") or ""
        return _view(True, inputs, tuple(gradients.split()))
    if holds_tiles(stack, objective, facts, recipe.task):
        return _tiled(recipe.strategy == "fine_tune", inputs)
    return _view(False, inputs, ())


def holds_tiles(
    stack: Stack, objective: str | None, facts: ModelFacts, task: str | None = None
) -> bool:
    """Whether the trainer of an objective, or of texts where there is none, works through its
    logits in tiles by itself."""
    if objective in (None, SUPERVISED) and (task or facts.task) != "causal_lm":
        return False
    return stack.word(f"loss.{objective or SUPERVISED}") == IN_TILES


@cache
def _tiled(trains: bool, inputs: tuple[str, ...]) -> View:
    operations = tuple(name for key in inputs for name in OPERATIONS[key])

    def seen(trace: StepTrace) -> StepTrace:
        cut = in_tiles(trace, trains)
        return kept(cut, operations) if operations else cut

    return seen


def _kept_inputs(stack: Stack) -> tuple[str, ...]:
    """Names of what autograd of its day kept beside what is read."""
    return tuple(name for name in OPERATIONS if stack.word(name) == KEPT)


@cache
def _view(is_fused: bool, inputs: tuple[str, ...], gradients: tuple[str, ...]) -> View | None:
    """One function for equal views: sources of traces are shared by it."""
    if not inputs and not gradients:
        return in_pieces if is_fused else None
    operations = tuple(name for key in inputs for name in OPERATIONS[key])

    def seen(trace: StepTrace) -> StepTrace:
        cut = in_pieces(trace, gradients) if is_fused else trace
        return kept(cut, operations) if operations else cut

    return seen


def _holds_no_logits(stack: Stack, facts: ModelFacts) -> bool:
    families = (stack.word("fused_families") or "").split()
    return stack.word("loss") == IN_PIECES and family(facts) in families


def fused_share(stack: Stack, facts: ModelFacts) -> float:
    """What the stack's kernels leave of the time of operations that fuse with their neighbours; 1
    where it has none for this family."""
    if family(facts) not in (stack.word("fused_families") or "").split():
        return 1.0
    return stack.number("fused_share") or 1.0


def stack_kernels(stack: Stack, facts: ModelFacts) -> StackKernels:
    """What the stack's kernels are beside those of today."""
    return StackKernels(fused_share(stack, facts), stack.number("attention_speed") or 1.0)
