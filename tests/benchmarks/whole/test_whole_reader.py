"""Reports are read from three raw tables into one shape, and become questions that state what the
row states and nothing of its outcome."""

import csv

import pytest
from whole_reports import STATED, asked, report

from benchmarks import whole_runs
from benchmarks.whole import facts, words
from benchmarks.whole.causes import RULES
from benchmarks.whole.report import COLUMNS, HOST_GPUS, of_row, read, shipped
from planner import tables
from planner.errors import DataError
from planner.question import Question

WALLTIME = {
    "modality": "text encoder",
    "strategy": "full fine-tune",
    "model": "bert-base-multilingual-cased",
    "dataset": "XNLI (train en)",
    "epochs": "2",
    "seq_len": "128",
    "batch_per_gpu": "32",
    "n_gpus": "1",
    "gpu": "NVIDIA V100 16GB",
    "precision": "",
    "train_time_s": "6360",
    "notes": "",
    "source": "a README",
}
TOTAL = {
    "modality": "LLM small",
    "kind": "pre-training",
    "model": "GPT-2 124M (llm.c)",
    "tokens_or_samples": "10B tokens",
    "seq_len": "1024",
    "global_batch": "",
    "hardware": "A100-80GB SXM",
    "n_gpus": "8",
    "gpu_hours": "12",
    "wallclock": "90 minutes",
    "usd_stated": "~20 (at ~$14/h node)",
    "note": "",
    "source": "a discussion",
}


def written(path, rows):
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def folder(tmp_path):
    bill = {column: STATED.get(column, "") for column in COLUMNS if column != "table"}
    written(tmp_path / "finetune_bills.csv", [bill])
    failed = {**WALLTIME, "train_time_s": "", "notes": "OOM"}
    written(tmp_path / "finetune_walltimes.csv", [WALLTIME, failed])
    cluster = {**TOTAL, "n_gpus": "2048", "model": "LLaMA 65B"}
    written(tmp_path / "published_total_costs.csv", [TOTAL, cluster])
    return tmp_path


def test_three_tables_are_read_into_one_shape(folder):
    bill, walltime, total = read(folder)
    assert bill.hours == 2.0 and bill["model"] == "meta-llama/Llama-2-7b-hf"
    assert walltime.hours == pytest.approx(6360 / 3600, rel=1e-3)
    assert (walltime["max_length"], walltime["global_batch"]) == ("128 padded", "32")
    assert total.hours == pytest.approx(12 / 8) and total.gpus == HOST_GPUS
    assert float(total["samples"]) == pytest.approx(10e9 / 1024, rel=1e-6)
    assert total["usd"] == "20"


def test_a_table_without_a_column_or_a_row_without_a_source_is_refused(folder):
    written(folder / "finetune_walltimes.csv", [{"model": "gpt2", "source": "x"}])
    with pytest.raises(DataError, match="column 'train_time_s' is missing"):
        read(folder)
    with pytest.raises(DataError, match="'source' is blank"):
        of_row("finetune_bills", {**STATED, "source": ""})


def test_the_question_has_what_the_row_states():
    fields = asked().fields
    assert Question(**fields).model == "meta-llama/Llama-2-7b-hf"
    assert (fields["strategy"], fields["task"], fields["precision"]) == (
        "qlora",
        "causal_lm",
        "bf16",
    )
    assert fields["lora_targets"] == ["q_proj", "v_proj"] and fields["lora_rank"] == 16
    assert (fields["samples"], fields["epochs"], fields["max_steps"]) == (1000, 3.0, None)
    assert (fields["tokens_per_sample"], fields["padding"]) == (300, "longest")
    assert fields["gradient_checkpointing"] == "full"


@pytest.mark.parametrize(
    "outcome",
    [
        {"hours": "17"},
        {"usd": "99"},
        {"peak_gib": "12.3"},
        {"seconds_per_step": "4.4"},
        {"trust": "L"},
    ],
)
def test_the_outcome_never_enters_the_question(outcome):
    assert asked(**outcome).fields == asked().fields


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"strategy": "dpo qlora"}, "strategy not understood: dpo qlora"),
        ({"strategy": "partial (Spectrum, 30%)"}, "which blocks are trained is not stated"),
        ({"strategy": "partial (BitFit)"}, "not understood: partial (BitFit)"),
        ({"strategy": "grpo full"}, "strategy not understood: grpo full"),
        ({"strategy": "scratch (ImageNet backbone)"}, "strategy not understood: scratch (Image"),
        ({"strategy": ""}, "strategy not understood: not stated"),
        ({"task": "object detection"}, "task not understood: object detection"),
        ({"optimizer": "adamw (CPU offload)"}, "offloading"),
        ({"notes": "layers spread over 4 GPUs by device_map"}, "device_map"),
        ({"gpu": "16GB GPU (V100 likely)"}, "device is not named"),
        ({"samples": ""}, "number of samples not stated"),
        ({"tokens_per_sample": ""}, "mean length of the samples"),
        ({"epochs": ""}, "neither epochs nor steps"),
    ],
)
def test_what_is_missing_is_said_in_words(cells, said):
    found = asked(**cells)
    assert not found.askable and any(said in reason for reason in found.missing)


def test_no_offload_is_no_offload():
    assert asked(notes="DeepSpeed ZeRO-3 without offload").askable
    assert asked(notes="DeepSpeed ZeRO-3, no offload").askable


@pytest.mark.parametrize(
    ("notes", "way"),
    [
        ("FSDP full shard", "fsdp"),
        ("DeepSpeed ZeRO-3, no offload", "zero3"),
        ("ZeRO stage 2", "zero2"),
    ],
)
def test_sharded_runs_are_asked_as_they_share(notes, way):
    found = asked(gpus="8", notes=notes)
    assert found.askable and found.judges_memory and found.fields["parallel"] == way
    assert any("sharded" in text for text in found.assumed)
    assert "parallel" not in asked(notes=notes).fields, "one device holds its own state"


@pytest.mark.parametrize("notes", ["FSDP SHARD_GRAD_OP", "DeepSpeed"])
def test_what_shares_in_another_way_is_judged_by_time_alone(notes):
    found = asked(gpus="8", notes=notes)
    assert found.askable and not found.judges_memory and "parallel" not in found.fields


def test_packed_samples_are_whole_where_the_steps_are_stated():
    fields = asked(max_length="1024 packed", steps="50", tokens_per_sample="").fields
    assert (fields["samples"], fields["tokens_per_sample"], fields["padding"]) == (400, 1024, "max")
    natural = asked(max_length="1024 packed").fields
    assert (natural["tokens_per_sample"], natural["padding"]) == (300, "packed")
    loose = asked(notes="natural lengths, not packed, padded in batch", steps="50").fields
    assert (loose["samples"], loose["padding"], loose["max_steps"]) == (1000, "longest", 50)


def test_lengths_of_a_known_data_set_are_assumed_aloud():
    found = asked(dataset="databricks/databricks-dolly-15k", tokens_per_sample="", samples="")
    assert found.fields["samples"] == 15011
    assert 150 < found.fields["tokens_per_sample"] < 300
    assert any("tokens a sample" in text for text in found.assumed)


def test_a_longer_mean_than_the_cut_off_is_cut():
    fields = asked(dataset="mlabonne/FineTome-100k", tokens_per_sample="", max_length="256").fields
    assert fields["tokens_per_sample"] == 256


def test_encoder_decoders_have_two_lengths():
    fields = asked(
        strategy="full",
        task="seq2seq summarization",
        max_length="512 in / 129 out",
        tokens_per_sample="",
    ).fields
    assert (fields["tokens_per_sample"], fields["target_tokens_per_sample"]) == (512, 129)
    assert fields["padding"] == "longest"
    assert (fields["strategy"], fields["task"]) == ("fine_tune", "seq2seq_lm")


def test_evaluation_is_what_the_row_says():
    assert asked(notes="no evaluation during training").fields["evaluations_per_epoch"] == 0
    counted = asked(notes="incl. evaluation of 3669 images each epoch").fields
    assert counted["evaluation_samples"] == 3669
    often = asked(notes="evaluation every 100 steps included", steps="2000").fields
    assert often["evaluations_per_epoch"] == 20
    assert "evaluations_per_epoch" not in asked().fields, (
        "left to the planner where nothing is said"
    )


@pytest.mark.parametrize(
    ("said", "strategy", "precision"),
    [
        ("4-bit nf4, bf16", "qlora", "bf16"),
        ("bf16 autocast", "fine_tune", "amp_bf16"),
        ("fp16 AMP, channels_last", "scratch", "amp_fp16"),
        ("fp16", "fine_tune", "amp_fp16"),
        ("fp32", "fine_tune", "fp32"),
        ("int8 base, fp16/fp32 LoRA", "lora", "fp16"),
        ("fp16/bf16 not stated", "fine_tune", None),
        ("", "fine_tune", None),
    ],
)
def test_precisions(said, strategy, precision):
    assert words.precision_of(said, strategy, sharded=False) == precision


@pytest.mark.parametrize(
    ("said", "task", "modality"),
    [
        ("causal LM summarization", "causal_lm", "language model"),
        ("seq2seq summarization", "seq2seq_lm", "sequence to sequence"),
        ("text classification (77)", "text_classification", "text encoder"),
        ("extractive QA", "token_classification", "text encoder"),
        ("sentence embedding (triplets)", "contrastive", "text embedder"),
        ("speech recognition (CTC)", "speech_recognition", "speech"),
        ("image classification (37)", "image_classification", "image"),
        ("vision-language questions", None, "image and text"),
        ("text to speech", None, "speech"),
        ("replaced token detection pre-training", None, "language model"),
        ("", None, "other"),
    ],
)
def test_tasks(said, task, modality):
    assert words.task_of(said) == (task, modality)


@pytest.mark.parametrize(
    ("said", "strategy"),
    [
        ("full", "fine_tune"),
        ("full fine-tune DDP + FP16", "fine_tune"),
        ("qlora", "qlora"),
        ("lora", "lora"),
        ("linear probe", "feature_extraction"),
        ("scratch", "scratch"),
        ("distillation", "distillation"),
        ("scratch (self-supervised)", None),
        ("grpo lora", None),
        ("prompt tuning (textual inversion, one embedding)", None),
        ("feature extraction (one projection layer, all else frozen)", None),
    ],
)
def test_strategies(said, strategy):
    assert words.strategy_of(said) == strategy


def test_modules_by_their_short_names():
    assert words.targets_of("q,v (PEFT default)", "Llama-2-7b") == ["q_proj", "v_proj"]
    assert words.targets_of("q,v", "flan-t5-xxl") == ["q", "v"]
    assert words.targets_of("all-linear + full lm_head and embed_tokens", "Llama-3.1-8B") == [
        f"{name}_proj" for name in words.LLAMA_LINEAR
    ]
    assert words.targets_of("script default", "Llama-3.1-8B") is None
    assert "query_key_value" in words.targets_of("all-linear", "falcon-180b")


def test_rows_of_facts_have_sources_and_resolve():
    for row in tables.rows("measured", "whole_runs", "models.csv"):
        assert row["source"] and row["model"], row
    for row in tables.rows("measured", "whole_runs", "data_sets.csv"):
        assert row["source"] and row["counted_how"] and float(row["samples"]) > 0, row
        assert not row["bytes"] or 20 < facts.mean_tokens(row, "Llama-2-7b") < 5000, row


def test_evidence_is_of_curated_reports_and_names_causes_of_the_rules():
    known, names = {r.id for r in shipped()}, {name for name, _ in RULES}
    rows = tables.rows("measured", "whole_runs", "evidence.csv")
    assert rows
    for row in rows:
        assert row["id"] in known and row["cause"] in names and row["source"], row


def test_curated_reports_are_trusted_cited_and_what_the_program_writes():
    reports = shipped()
    assert len({r.id for r in reports}) == len(reports) > 90
    assert all(r.trusted and r["source"] for r in reports)
    text = whole_runs.CURATED.read_text(encoding="utf-8")
    assert whole_runs.curated(reports) == text
    assert report(trust="L").id not in whole_runs.curated([report(trust="L")])


def test_a_share_of_the_layers_is_so_many_last_blocks():
    found = asked(
        strategy="partial (Spectrum, 30% of layers trained in bf16)",
        model="meta-llama/Llama-3.1-8B",
        model_config_hint="hf:meta-llama/Llama-3.1-8B",
    )
    assert found.fields["strategy"] == "partial_fine_tune"
    assert found.fields["unfrozen_blocks"] == 10  # of 32
    assert any("backward pass" in text for text in found.assumed)
