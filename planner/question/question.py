"""What the user asks. The flags of the command line, the keys of ``project.yaml`` and the arguments
of ``planner.estimate`` are these fields (dashes become underscores)."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any, Self, cast

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from planner.question import lists
from planner.question.fields import Places, refusal, refuse_truths
from planner.question.how import How
from planner.question.optimizers import asked_as


class Question(How):
    """One question. Everything but the model has a default; None means that the planner chooses and
    says what it chose."""

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
    _granted: tuple[str, ...] = PrivateAttr(default=())

    @property
    def notes(self) -> tuple[str, ...]:
        """What reading the question left out: warnings of every answer to it."""
        return self._notes

    @property
    def granted(self) -> tuple[str, ...]:
        """What reading the question took for granted: assumptions of every answer to it."""
        return self._granted

    def noting(self, *notes: str, granted: Iterable[str] = ()) -> Question:
        """The same question with further notes, and with what else is taken for granted."""
        noted = self.model_copy()
        noted._notes = (*self._notes, *notes)
        noted._granted = (*self._granted, *granted)
        return noted

    @field_validator("strategy", mode="before")
    @classmethod
    def _strategies(cls, value: Any) -> list[str] | None:
        """One name, a list, or ``all``; dashes allowed."""
        if value is None or value == "all" or value == ["all"] or value == ("all",):
            return None
        if not isinstance(value, (str, list, tuple, set, frozenset)):
            raise ValueError("give a name or a list of names")
        names = [value] if isinstance(value, str) else list(cast("Iterable[Any]", value))
        names = [str(name).replace("-", "_") for name in names]
        if "all" in names:
            return None
        return list(dict.fromkeys(names))

    @field_validator(
        "precision", "task", "unfreezing", "float8", "pipeline_schedule", mode="before"
    )
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
        "lora_layers_pattern",
        "lora_modules_to_save",
        "text_columns",
        "licences",
        "offload",
        mode="before",
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
        if (not self.spot and self.gpus == 1) and (
            self.interruptions_per_day is not None or self.checkpoint_minutes is not None
        ):
            raise ValueError(
                "interruptions_per_day and checkpoint_minutes belong to spot or to several gpus"
            )
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _in_one_line(
        cls, values: Any, build: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        """The last one, around all others: whoever asks, in Python or from a file, what is wrong is
        said in one line. Raises QuestionError, or UnknownNameError for a name that is no field."""
        places = info.context if isinstance(info.context, Places) else Places()
        if isinstance(values, Mapping):
            refuse_truths(cast("Mapping[str, Any]", values), cls.model_fields, places)
        try:
            return build(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise refusal(first, cls.model_fields, places) from None
