"""TrainingSetting: what is known of one choice of a training, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from planner.question import adapters
from planner.registry import declared
from planner.tasks import tasks

#: What a value may be. ``count`` 1, 2, …; ``whole`` 0, 1, …; ``positive`` above 0; ``amount`` 0 or
#: above; ``names`` a list of words; ``object`` names with values.
NUMBERS = ("count", "whole", "positive", "amount")
SINGLE_VALUES = ("text", "strategy", "flag", *NUMBERS)
#: Files and objects of tools that are read themselves: what they call a setting, nobody logs under
#: that name alone.
OWN_OBJECTS = ("peft", "trainer_state", "axolotl")
#: Strategies that train adapters.
LORA: tuple[str, ...] = tuple(
    strategy.name
    for strategy in declared("planner.training.strategies", "STRATEGY")
    if strategy.uses_lora
)
#: Tasks whose inputs may be images of any size.
IMAGE_TASKS = (
    *(task.name for task in tasks().values() if task.modality in ("image", "image_text")),
    "custom",
)
#: Tasks that learn objects of images.
OBJECT_TASKS = ("object_detection", "instance_segmentation")
#: Tasks whose head has a number of classes that the question names; a detector's and a segmenter's
#: among them, where the predictions of every place are as wide.
CLASSIFIERS = tuple(task.name for task in tasks().values() if task.classes)


@dataclass(frozen=True, kw_only=True)
class TrainingSetting:
    """One setting.

    ``names``: (tool, what it is called there), in the order in which logged parameters are
    searched. ``strategies`` and ``tasks``: those that use it, empty for all; ``required``: these
    strategies cannot be asked about without it. ``largest``: beyond it no run is meant.
    ``recipe_names``: a question's word → a recipe's, where they differ. ``question``: a field of
    the question of this name means the same. ``flag``: it can be said of a run (a flag of
    ``planner runs import``, a name of ``--map``). ``published``: a column of
    ``profiles/measured/published.csv``.
    """

    name: str
    value_type: str
    unit: str | None = None
    words: str = ""
    label: str = ""
    names: tuple[tuple[str, str], ...] = ()
    choices: tuple[str, ...] = ()
    largest: int = 10**6
    strategies: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    required: bool = False
    recipe_names: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    question: bool = True
    flag: bool = True
    published: bool = True

    @property
    def logged_names(self) -> tuple[str, ...]:
        """What it is called in parameters that trainers and trackers log; the first that is there
        counts."""
        return tuple(name for tool, name in self.names if tool not in OWN_OBJECTS)

    @property
    def column(self) -> str:
        """Of tables of runs."""
        return self.name

    @property
    def title(self) -> str:
        """Of views: the label, else the name in words."""
        return self.label or self.name.replace("_", " ")

    def called_by(self, tool: str) -> str | None:
        return next((name for owner, name in self.names if owner == tool), None)

    def used_by(self, strategy: str, task: str) -> bool:
        return (not self.strategies or strategy in self.strategies) and (
            not self.tasks or task in self.tasks
        )


#: Of detectors, whose time it is of.
OBJECTS_PER_IMAGE = TrainingSetting(
    name="objects_per_image",
    value_type="count",
    unit="objects",
    words="Objects of an image that a detector learns, in the mean; time is of it. By default as "
    "in a published set of images",
    largest=10**4,
    tasks=OBJECT_TASKS,
    published=False,
)

#: Strategies whose linear layers train or are trained through, as float8's libraries convert them.
IN_FLOAT8 = ("fine_tune", "partial_fine_tune", "scratch")
#: Tasks whose loss is over a vocabulary, at every token.
WRITING_TASKS = ("causal_lm", "image_text_to_text")
#: What a run does to hold less at once, or to run fewer kernels.
SAVINGS = (
    TrainingSetting(
        name="compile",
        value_type="flag",
        words="Train under torch.compile",
        names=(("transformers", "torch_compile"),),
    ),
    TrainingSetting(
        name="float8",
        value_type="text",
        words="Multiply linear layers in 8-bit floats, by a recipe of torchao: tensorwise (one "
        "scale a tensor), rowwise (one a row), rowwise_with_gw_hp (rowwise, with the weights' "
        "gradient in 16 bits); the weights stay as they are. Wants compile",
        choices=("tensorwise", "rowwise", "rowwise_with_gw_hp"),
        strategies=IN_FLOAT8,
        published=False,
    ),
    TrainingSetting(
        name="float8_layers",
        value_type="text",
        words="Which linear layers float8 multiplies: all but the head, as torchtune's and "
        "torchtitan's recipes (by default), or auto, those that torchao's auto filter finds large "
        "enough to gain",
        choices=("all", "auto"),
        recipe_names={"all": None},
        strategies=IN_FLOAT8,
        published=False,
    ),
    TrainingSetting(
        name="loss",
        value_type="text",
        words="How the loss over the vocabulary is computed: plain; chunked, as torchtune's in "
        "eight chunks of the tokens; fused with the head, as Liger's and Unsloth's kernels. By "
        "default plain",
        choices=("plain", "chunked", "fused"),
        recipe_names={"plain": None},
        tasks=WRITING_TASKS,
        published=False,
    ),
    TrainingSetting(
        name="kernels",
        value_type="text",
        words="Whose kernels stand between a decoder's products, recorded as they run: liger "
        "(norms, gates, rotary embeddings and the loss), unsloth (those, and adapters that keep "
        "their input alone)",
        choices=("liger", "unsloth"),
        tasks=WRITING_TASKS,
        published=False,
    ),
    TrainingSetting(
        name="adapter_precision",
        value_type="text",
        words="Number format of adapters over weights of 16 bits: fp32, as PEFT makes them; "
        "weights, that of the weights, as torchtune's and Unsloth's",
        choices=("fp32", "weights"),
        recipe_names={"fp32": None},
        strategies=LORA,
        published=False,
    ),
    TrainingSetting(
        name="optimizer_in_backward",
        value_type="flag",
        words="Update each weight as soon as its gradient is there, which is then freed; goes "
        "without accumulation and without clipping",
        published=False,
    ),
    TrainingSetting(
        name="offload",
        value_type="names",
        words="What waits in the host's memory: activations, as torchtune's and TRL's "
        "OffloadActivations move them; optimizer, its states, and it runs there; gradients, which "
        "leave as soon as they are there (with optimizer); weights, which come for the block that "
        "runs (with both)",
        choices=("activations", "optimizer", "gradients", "weights"),
        published=False,
    ),
)

#: How adapters are made, and how large those of some methods are.
ADAPTERS = (
    TrainingSetting(
        name="adapter",
        value_type="text",
        words="Which of PEFT's methods makes the adapters of lora and qlora; by default lora",
        choices=adapters.names(),
        recipe_names={adapters.LORA: None},
        strategies=LORA,
        published=False,
    ),
    TrainingSetting(
        name="virtual_tokens",
        value_type="count",
        unit="tokens",
        words="Tokens that prompt, p_tuning and prefix put before every text; by default as PEFT's "
        "examples",
        largest=10**5,
        strategies=LORA,
        published=False,
        names=(("peft", "num_virtual_tokens"),),
    ),
    TrainingSetting(
        name="adapter_block_size",
        value_type="count",
        words="Size of a block of oft (PEFT's oft_block_size), boft (boft_block_size) and c3a "
        "(block_size); by default as PEFT's",
        largest=10**5,
        strategies=LORA,
        published=False,
    ),
)

#: What a sample of the data is to an objective.
PAIRS, JUDGED, PROMPTS, TEXTS = "pairs", "judged texts", "prompts", "texts"
#: The task's own loss, which a recipe does not name.
SUPERVISED = "supervised"
#: Strategies that an objective goes with.
TUNED_BY = ("fine_tune", "lora", "qlora")
_DECLARED = sorted(
    declared("planner.training.objectives", "OBJECTIVE"), key=lambda objective: objective.order
)
OBJECTIVES: tuple[str, ...] = (SUPERVISED, *(objective.name for objective in _DECLARED))
#: Those whose samples are written by the model itself.
WRITING: tuple[str, ...] = tuple(one.name for one in _DECLARED if one.samples == PROMPTS)
#: Of them those that compare the completions of a prompt with each other.
GROUPED: tuple[str, ...] = tuple(one.name for one in _DECLARED if one.grouped)
#: Those under which a prompt may have several completions.
REPEATED: tuple[str, ...] = tuple(one.name for one in _DECLARED if one.repeats)
#: Those under which some model writes completions.
COMPLETED: tuple[str, ...] = tuple(one.name for one in _DECLARED if one.completes)
#: Those that learn from a teacher, and of them those whose student may write a part itself.
TAUGHT: tuple[str, ...] = tuple(one.name for one in _DECLARED if one.teacher)
REPLACING: tuple[str, ...] = tuple(one.name for one in _DECLARED if one.replaces)
#: Where the frozen copy is that a model is compared with.
REFERENCES = ("model", "none", "precomputed")
#: What writes completions: the trainer itself, vLLM on the same GPU, vLLM on a GPU of its own.
ENGINES = ("transformers", "vllm", "vllm_server")

SETTINGS_OF_OBJECTIVES = (
    TrainingSetting(
        name="objective",
        value_type="text",
        words="What is learnt from the data, as TRL runs it (kd as torchtune): supervised (by "
        "default), from preferences and rewards, or from a teacher",
        choices=OBJECTIVES,
        strategies=TUNED_BY,
        flag=False,
        published=False,
    ),
    TrainingSetting(
        name="reference",
        value_type="text",
        words="The frozen copy that an objective compares with: a model (adapters turned off where "
        "there are some), none, or precomputed once before the first step; by default as TRL does",
        choices=REFERENCES,
        strategies=TUNED_BY,
        flag=False,
        published=False,
    ),
)

#: What an objective asks, and what the planner itself works out: kept in a record, and not to be
#: said of a run.
WORKED_OUT = (
    *SETTINGS_OF_OBJECTIVES,
    TrainingSetting(name="teacher", value_type="text", question=False, flag=False, published=False),
    TrainingSetting(name="variant", value_type="text", question=False, flag=False, published=False),
    TrainingSetting(
        name="quantised_inputs",
        value_type="text",
        choices=("kept",),
        strategies=LORA,
        question=False,
        flag=False,
    ),
    TrainingSetting(
        name="images",
        value_type="count",
        unit="pictures of a sample",
        tasks=("image_text_to_text",),
        question=False,
        flag=False,
        published=False,
    ),
    TrainingSetting(
        name="audio_samples",
        value_type="count",
        unit="samples of the waveform",
        tasks=("audio_classification", "custom"),
        question=False,
        flag=False,
        published=False,
    ),
)
