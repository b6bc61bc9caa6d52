"""The settings of a run by preference, reward or a teacher, in TRL's names."""

from __future__ import annotations

from dataclasses import dataclass

from planner.errors import FieldName, QuestionError
from planner.plan.objectives.asked import PRECOMPUTED, VLLM, objective_asked, rollout
from planner.plan.objectives.taught import answer_tokens, on_policy_share
from planner.recipe.config import Key, Section, section
from planner.recipe.optimizers import trainer_keys
from planner.recipe.planned import Planned
from planner.recipe.text_settings import sections as of_text
from planner.training.objective import Objective

#: What of a supervised run's settings TRL's trainers do not take.
NOT_TRLS = ("packing", "pad_to_max_length", "max_length")
#: How much the divergence from the reference weighs where completions are written, with none in
#: TRL by default (Shao et al. 2024, DeepSeekMath, arXiv 2402.03300, section 4.2: 0.04). It changes
#: no cost, but for being there.
BETA = 0.04


@dataclass(frozen=True)
class TunedBy:
    """TRL's module and class of an objective, as of huggingface/trl@f2cd577."""

    module: str
    trainer: str

    @property
    def config(self) -> str:
        return self.trainer.removesuffix("Trainer") + "Config"


TRAINERS = {
    "dpo": TunedBy("trl", "DPOTrainer"),
    "kto": TunedBy("trl", "KTOTrainer"),
    "reward": TunedBy("trl", "RewardTrainer"),
    "grpo": TunedBy("trl", "GRPOTrainer"),
    "rloo": TunedBy("trl", "RLOOTrainer"),
    "orpo": TunedBy("trl.experimental.orpo", "ORPOTrainer"),
    "gkd": TunedBy("trl.experimental.gkd", "GKDTrainer"),
    "on_policy_distillation": TunedBy("trl.experimental.distillation", "DistillationTrainer"),
}


def sections(planned: Planned) -> list[Section]:
    """Raises QuestionError for what TRL's trainers are not told."""
    _check(planned)
    own = section(f"The objective, {planned.recipe.objective}.", *_objective(planned))
    kept = [
        Section(part.title, tuple(key for key in part.keys if key.name not in NOT_TRLS))
        for part in of_text(planned)
    ]
    return [*kept[:2], own, *kept[2:]]


def _check(planned: Planned) -> None:
    if planned.option.choices.padding in ("max", "free"):
        raise QuestionError(
            "TRL pads to the longest of a batch here",
            where=FieldName("padding"),
            mend="Ask for longest",
        )
    optimizer = next(key for key in trainer_keys(planned.recipe.optimizer) if key is not None)
    if optimizer.name != "optim":
        raise QuestionError(
            f"TRL's trainers have no name for {planned.recipe.optimizer}",
            where=FieldName("optimizer"),
            mend="Ask for adamw or adamw_fused",
        )
    if planned.recipe.objective == "dpo" and planned.recipe.reference is None:
        raise QuestionError(
            "TRL's DPOTrainer always compares with a reference",
            where=FieldName("reference"),
            mend="Ask for model or precomputed",
        )


def _objective(planned: Planned) -> list[Key | None]:
    recipe, question = planned.recipe, planned.question
    objective = objective_asked(question)
    if objective is None or not objective.writes:
        precomputed = recipe.reference == PRECOMPUTED
        written = _replaced(planned, objective) if objective and objective.replaces else []
        return [
            Key("max_length", planned.option.choices.max_length, "tokens"),
            Key("precompute_ref_log_probs", True) if precomputed else None,
            *written,
        ]
    made, samples = rollout(question, objective), planned.option.setting.step.samples
    if samples % made.each:
        raise QuestionError(
            f"TRL writes {made.each} completions to each prompt, and {samples} samples of a step "
            "are no multiple of that",
            where=FieldName("global_batch"),
            mend=f"Ask for {made.each * max(1, round(samples / made.each))}",
        )
    engine = question.generation_engine == VLLM
    several = made.each > 1 or not objective.teacher  # TRL's later versions distil one alone
    return [
        Key("num_generations", made.each, "completions to each prompt") if several else None,
        Key("max_completion_length", round(made.tokens), "tokens"),
        Key("beta", BETA if recipe.reference else 0.0, "0: no reference model")
        if not objective.teacher
        else None,
        Key("use_vllm", True) if engine else None,
        Key("vllm_mode", "colocate", "on the same GPU") if engine else None,
    ]


def _replaced(planned: Planned, objective: Objective) -> list[Key | None]:
    """What of the texts the student or the teacher writes."""
    question = planned.question
    tokens = round(answer_tokens(question, objective, planned.data))
    return [
        Key("lmbda", on_policy_share(question), "of the batches the student writes itself"),
        Key("seq_kd", question.teacher_writes, "the teacher writes the others"),
        Key("max_new_tokens", tokens, "of an answer that is written"),
    ]
