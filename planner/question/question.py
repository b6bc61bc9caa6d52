"""What the user asks. The flags of the command line, the keys of ``project.yaml`` and the arguments
of ``planner.estimate`` are these fields (dashes become underscores)."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from planner.question import lists
from planner.question.fields import OneOf
from planner.question.optimizers import asked_as, asked_names
from planner.question.settings import SETTINGS
from planner.registry import declared

#: Strategies that train something on a device: those of ``training/strategies``, a file each.
TRAINING_STRATEGIES: tuple[str, ...] = tuple(
    strategy.name
    for strategy in sorted(
        declared("planner.training.strategies", "STRATEGY"), key=lambda strategy: strategy.order
    )
)
#: Strategies that are paid by the token.
PAID_STRATEGIES: tuple[str, ...] = ("prompting", "rag", "provider_fine_tune")
ALL_STRATEGIES: tuple[str, ...] = PAID_STRATEGIES + TRAINING_STRATEGIES

Strategy = Annotated[str, OneOf(ALL_STRATEGIES)]
Optimizer = Annotated[str, OneOf(asked_names())]
Precision = Literal["fp32", "tf32", "fp16", "bf16", "amp_fp16", "amp_bf16"]
Padding = Literal["longest", "max", "packed"]
Checkpointing = Literal["auto", "none", "full", "selective"]
Attention = Literal["eager", "sdpa", "flash"]
Task = Literal[
    "causal_lm",
    "masked_lm",
    "seq2seq_lm",
    "text_classification",
    "token_classification",
    "question_answering",
    "image_classification",
    "audio_classification",
    "speech_recognition",
    "contrastive",
    "custom",
]


class Question(BaseModel):
    """One question. Everything but the model has a default; None means that the planner chooses and
    says what it chose."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(description=SETTINGS["model"].words)
    data: str | None = Field(None, description="File or folder that is read and counted")
    samples: int | None = Field(None, ge=1, le=10**13, description=SETTINGS["samples"].words)
    tokens_per_sample: float | None = Field(
        None, gt=0, le=10**8, description="Mean tokens a sample, with samples"
    )
    target_tokens_per_sample: float | None = Field(
        None, gt=0, le=10**8, description="Mean tokens of an encoder-decoder's target"
    )
    audio_hours: float | None = Field(
        None, gt=0, le=10**8, description="Hours of audio in all, with samples or seconds a sample"
    )
    seconds_per_sample: float | None = Field(
        None, gt=0, le=10**6, description="Mean seconds of a clip, with samples or hours of audio"
    )
    text_columns: list[str] | None = Field(
        None, description="Columns that hold the text; by default found from the names"
    )
    task: Task | None = Field(None, description=SETTINGS["task"].words)
    classes: int | None = Field(None, ge=1, le=10**7, description=SETTINGS["classes"].words)
    strategy: list[Strategy] | None = Field(None, description=SETTINGS["strategy"].words)

    gpu: str | None = Field(None, description=SETTINGS["gpu"].words)
    gpus: int = Field(1, ge=1, le=100_000, description=SETTINGS["gpus"].words)
    parallel: Literal["ddp"] | None = Field(None, description=SETTINGS["parallel"].words)
    provider: str | None = Field(None, description="Only this provider's prices")
    region: str | None = Field(None, description="Only this region's prices and electricity")
    spot: bool = Field(False, description="Spot prices: cheaper, and can be taken away")
    price: float | None = Field(
        None, ge=0, le=10**6, description="USD per GPU-hour, instead of the price table"
    )
    commitment: str | None = Field(
        None,
        description="Prices under this commitment, such as reserved or 1y; by default on "
        "demand and your own contracts",
    )
    interruptions_per_day: float | None = Field(
        None,
        ge=0,
        le=10**4,
        description="With spot: how often a day an instance is taken away; by default as "
        "measured, where somebody did",
    )
    checkpoint_minutes: float | None = Field(
        None,
        gt=0,
        le=10**7,
        description="With spot: minutes of work between checkpoints; by default the best by "
        "Young and Daly",
    )
    trials: int = Field(
        1,
        ge=1,
        le=10**6,
        description="Runs that succeed, with those of a search for hyperparameters; the cost "
        "is of all",
    )
    failed_share: float = Field(
        0.0, ge=0, lt=1, description="Share of runs that fail and are run again"
    )
    keep_months: float = Field(
        0.0,
        ge=0,
        le=1200,
        description="Months that data and checkpoints stay in storage after the run",
    )
    usd_per_label: float | None = Field(
        None, ge=0, le=10**6, description="What people are paid for one label"
    )
    labels: int | None = Field(
        None,
        ge=0,
        le=10**13,
        description="Labels that people are paid for; by default one a sample",
    )
    owned_usd: float | None = Field(
        None,
        ge=0,
        le=10**9,
        description="Own hardware: price of one GPU with its share of the machine",
    )
    owned_years: float | None = Field(
        None, gt=0, le=100, description="Own hardware: years that it works"
    )
    owned_utilisation: float | None = Field(
        None, gt=0, le=1, description="Own hardware: share of its hours that it works for somebody"
    )
    usd_per_kwh: float | None = Field(
        None, ge=0, le=100, description="Own hardware: price of electricity"
    )

    epochs: float | None = Field(None, gt=0, le=10**6, description=SETTINGS["epochs"].words)
    max_steps: int | None = Field(
        None,
        ge=1,
        le=10**12,
        description="Optimizer steps of the run, through the data again and again; wins over "
        "epochs",
    )
    micro_batch: int | None = Field(None, ge=1, le=10**7, description=SETTINGS["micro_batch"].words)
    global_batch: int | None = Field(
        None,
        ge=1,
        le=10**9,
        description="Samples of one optimizer step over all devices; accumulates what a device "
        "cannot hold",
    )
    max_length: int | None = Field(
        None, ge=1, le=10**8, description="Longest sample in tokens; the rest is cut off"
    )
    image_size: int | None = Field(None, ge=8, le=16384, description=SETTINGS["image_size"].words)
    padding: Padding | None = Field(
        None,
        description="To the longest of the batch, to max_length, or packed without padding; by "
        "default packed for text from scratch and plain text, else to the longest",
    )
    precision: Precision | None = Field(None, description=SETTINGS["precision"].words)
    optimizer: Optimizer | None = Field(None, description=SETTINGS["optimizer"].words)
    gradient_checkpointing: Checkpointing = Field(
        "auto", description=SETTINGS["gradient_checkpointing"].words
    )
    attention: Attention = Field("sdpa", description=SETTINGS["attention"].words)
    compile: bool = Field(False, description=SETTINGS["compile"].words)
    lora_rank: int = Field(16, ge=1, le=65536, description=SETTINGS["lora_rank"].words)
    lora_alpha: float | None = Field(None, gt=0, description="Scale of lora; changes no cost")
    lora_targets: list[str] | None = Field(None, description=SETTINGS["lora_targets"].words)
    lora_exclude: list[str] | None = Field(None, description=SETTINGS["lora_exclude"].words)
    lora_layers: list[str] | None = Field(None, description=SETTINGS["lora_layers"].words)
    lora_layers_pattern: list[str] | None = Field(
        None, description=SETTINGS["lora_layers_pattern"].words
    )
    lora_modules_to_save: list[str] | None = Field(
        None, description=SETTINGS["lora_modules_to_save"].words
    )
    lora_rank_pattern: list[str] | None = Field(
        None, description=SETTINGS["lora_rank_pattern"].words
    )
    lora_dropout: float = Field(0.0, ge=0, lt=1, description=SETTINGS["lora_dropout"].words)
    load_in: Literal["4bit", "8bit"] | None = Field(None, description=SETTINGS["load_in"].words)
    kbit_preparation: Literal["peft", "none"] = Field(
        "peft", description=SETTINGS["kbit_preparation"].words
    )
    quantised_layers: Literal["installed", "all"] = Field(
        "installed", description=SETTINGS["quantised_layers"].words
    )
    unfrozen_blocks: int | None = Field(
        None, ge=0, le=10_000, description=SETTINGS["unfrozen_blocks"].words
    )
    unfreezing: Literal["last_blocks", "gradual"] = Field(
        "last_blocks",
        description="Whether partial_fine_tune trains its blocks from the start or unfreezes "
        "them one by one",
    )
    cached_features: bool | None = Field(
        None,
        description="feature_extraction: compute the features once (true), run the backbone "
        "every epoch (false), or show both",
    )
    teacher: str | None = Field(None, description="Model that distillation learns from")
    evaluations_per_epoch: float | None = Field(
        None,
        ge=0,
        le=10**4,
        description="Evaluations an epoch; by default as the published recipe, else 1",
    )
    evaluation_samples: int | None = Field(
        None,
        ge=0,
        le=10**13,
        description="Samples of one evaluation; by default a stated share of the data",
    )
    saves_per_epoch: float = Field(1.0, ge=0, le=10**4, description="Checkpoints an epoch")

    requests_per_month: float | None = Field(
        None,
        gt=0,
        le=10**13,
        description="Requests that the finished model answers a month; total cost of a project "
        "is then compared",
    )
    horizon_months: float = Field(
        12.0, gt=0, le=1200, description="Months that it answers requests"
    )
    prompt_tokens: float | None = Field(
        None,
        gt=0,
        le=10**8,
        description="Tokens of a request without examples and retrieved text; by default the "
        "data's mean",
    )
    output_tokens: float | None = Field(None, ge=0, le=10**8, description="Tokens of an answer")
    few_shot_examples: int = Field(
        0,
        ge=0,
        le=10**6,
        description="Samples of the data put into each request of prompting and rag",
    )
    cached_share: float = Field(
        0.0, ge=0, le=1, description="Share of a request's input that the provider has cached"
    )
    api_model: str | None = Field(
        None,
        description="Model paid by the token, as MODEL or PROVIDER:MODEL, for prompting, rag "
        "and provider_fine_tune",
    )
    corpus_tokens: float | None = Field(
        None, gt=0, le=10**15, description="Tokens of the documents that rag searches"
    )
    retrieved_tokens: float | None = Field(
        None, gt=0, le=10**8, description="Tokens that rag adds to each request"
    )
    embedding_model: str | None = Field(
        None, description="Model that rag embeds with; by default the cheapest of known size"
    )
    vector_store: str | None = Field(
        None, description="Where rag keeps its vectors; by default the cheapest for them"
    )
    concurrent_requests: int | None = Field(
        None,
        ge=1,
        le=10**6,
        description="Requests that a GPU serves at once; by default what its memory holds",
    )
    licences: list[str] | None = Field(
        None, description="Only models under these licences, such as apache-2.0,mit"
    )
    data_must_stay: bool = Field(False, description="The data must not be sent to an API provider")

    exact: bool = Field(False, description="Time every operation of the step on the local device")
    trust_remote_code: bool = Field(
        False, description="Accept models whose code comes with their weights"
    )
    offline: bool = Field(False, description="Never ask the network")
    max_usd: float | None = Field(
        None, gt=0, description="Budget in USD; exit code 1 when it is broken"
    )
    max_hours: float | None = Field(
        None, gt=0, description="Wall-clock hours allowed; exit code 1 when they are not enough"
    )
    deadline: datetime.datetime | None = Field(
        None, description="Date or time by which it must be done; exit code 1 when it cannot be"
    )

    _notes: tuple[str, ...] = PrivateAttr(default=())

    @property
    def notes(self) -> tuple[str, ...]:
        """What reading the question left out: warnings of every answer to it."""
        return self._notes

    def noting(self, *notes: str) -> Question:
        """The same question with further notes."""
        noted = self.model_copy()
        noted._notes = (*self._notes, *notes)
        return noted

    @field_validator("strategy", mode="before")
    @classmethod
    def _strategies(cls, value: Any) -> list[str] | None:
        """One name, a list, or ``all``; dashes allowed."""
        if value is None or value == "all" or value == ["all"] or value == ("all",):
            return None
        names = [value] if isinstance(value, str) else list(value)
        names = [str(name).replace("-", "_") for name in names]
        if "all" in names:
            return None
        return list(dict.fromkeys(names))

    @field_validator("precision", "task", "unfreezing", mode="before")
    @classmethod
    def _dashes(cls, value: Any) -> Any:
        return value.replace("-", "_") if isinstance(value, str) else value

    @field_validator("optimizer", mode="before")
    @classmethod
    def _optimizer_names(cls, value: Any) -> Any:
        """Dashes, and the names that trainers use."""
        name = value.replace("-", "_") if isinstance(value, str) else value
        return asked_as(name) if isinstance(name, str) else name

    @field_validator("lora_targets", "lora_exclude", mode="before")
    @classmethod
    def _modules(cls, value: Any) -> Any:
        return lists.module_names(value)

    @field_validator("lora_rank_pattern", mode="before")
    @classmethod
    def _ranks(cls, value: Any) -> Any:
        return lists.ranks(value)

    @field_validator("lora_layers", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        return lists.numbers(value)

    @field_validator(
        "lora_layers_pattern", "lora_modules_to_save", "text_columns", "licences", mode="before"
    )
    @classmethod
    def _comma_list(cls, value: Any) -> Any:
        return lists.by_commas(value)

    @model_validator(mode="after")
    def _one_source_of_data(self) -> Self:
        if self.data is not None and self.samples is not None:
            raise ValueError("give either data or samples, not both")
        if self.data is not None and (self.audio_hours or self.seconds_per_sample):
            raise ValueError(
                "audio_hours and seconds_per_sample go with samples: data has its own lengths"
            )
        if self.data is None and self.samples is None and self.audio_hours is None:
            raise ValueError(
                "no data: name a file or folder, or give samples (and tokens_per_sample for text, "
                "or audio_hours)"
            )
        return self

    @model_validator(mode="after")
    def _money_belongs_together(self) -> Self:
        """Own hardware is known whole or not at all, and is no offer; labels have a price."""
        own = {
            "owned_usd": self.owned_usd,
            "owned_years": self.owned_years,
            "owned_utilisation": self.owned_utilisation,
            "usd_per_kwh": self.usd_per_kwh,
        }
        missing = [name for name, value in own.items() if value is None]
        if missing and len(missing) < len(own):
            raise ValueError(
                f"own hardware needs {', '.join(missing)} too: none of them has a default"
            )
        if not missing and (
            self.price is not None or self.provider or self.spot or self.commitment
        ):
            raise ValueError(
                "own hardware is not rented: leave out price, provider, spot and commitment"
            )
        if self.labels is not None and self.usd_per_label is None:
            raise ValueError("labels without usd_per_label: what one label costs has no default")
        if not self.spot and (
            self.interruptions_per_day is not None or self.checkpoint_minutes is not None
        ):
            raise ValueError("interruptions_per_day and checkpoint_minutes belong to spot")
        return self
