"""``planner measure`` with tiny models, really trained on the processor."""

import importlib.util
import json
import random

import pytest

torch = pytest.importorskip("torch")
if not all(
    importlib.util.find_spec(name) for name in ("transformers", "peft", "safetensors", "tokenizers")
):
    pytest.skip("the model libraries are not installed", allow_module_level=True)

from planner.cli import main  # noqa: E402
from planner.errors import ModelError  # noqa: E402
from planner.ledger.store import Ledger  # noqa: E402
from planner.measure import (  # noqa: E402
    memory_seen,  # noqa: E402
    timed_steps,
)
from planner.measure.measurement import busy_notes  # noqa: E402
from planner.trace.table import CATEGORIES  # noqa: E402
from planner.units import MIB  # noqa: E402

LLAMA = dict(
    model_type="llama",
    architectures=["LlamaForCausalLM"],
    vocab_size=300,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=256,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
VIT = dict(
    model_type="vit",
    architectures=["ViTForImageClassification"],
    image_size=32,
    patch_size=16,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
)
COUNTS = ("--samples", 64, "--tokens-per-sample", 20, "--length-spread", 0)
QUICK = ("--device", "cpu", "--seconds", 0.1, "--micro-batch", 2, "--precision", "fp32")


@pytest.fixture(autouse=True)
def _one_fresh_process(monkeypatch):
    """Importing the libraries in a new process takes seconds; one test below does."""
    monkeypatch.setattr(memory_seen, "fresh_process_bytes", lambda library: 300 * MIB)


@pytest.fixture
def planner(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PLANNER_LEDGER", str(tmp_path / "own" / "runs.sqlite"))

    def call(*arguments):
        code = main.run(["measure", *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


def folder_of(path, config):
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    return path


@pytest.fixture
def llama(tmp_path):
    return folder_of(tmp_path / "llama", LLAMA)


def kept():
    with Ledger() as ledger:
        return list(ledger.records())


def test_a_run_goes_into_the_ledger_with_its_estimate(planner, llama):
    code, out, err = planner(llama, *COUNTS, *QUICK, "--strategy", "fine_tune", "--global-batch", 4)
    (run,) = kept()
    assert (code, err) == (0, "") and f"Kept as run {run.id[:6]}" in out and "Estimated" in out
    assert (
        run.kind == "measured"
        and run.source == "planner measure"
        and run.setup["model"] == "llama"
        and run.setup["sequence_length"] == 20
    )
    assert (
        run.setup["accumulation"] == 2
        and run.setup["architecture"]["hidden_size"] == 32
        and run.question["micro_batch"] == 2
    )
    found, estimate = run.measurement, run.estimate
    assert (
        found["steps"] >= 5
        and found["out_of_memory"] is False
        and found["loss_first"] > 0
        and found["tokens"] == found["steps"] * 2 * 2 * 20
    )
    assert found["step_seconds_p10"] <= found["step_seconds"] <= found["step_seconds_p90"] and set(
        found["phase_seconds"]
    ) == set(timed_steps.PHASES)
    assert (
        estimate["basis"] in ("datasheet", "calibrated")
        and estimate["step_seconds"]["p10"] < estimate["step_seconds"]["p50"]
    )
    assert sum(estimate["phase_seconds"].values()) == pytest.approx(estimate["step_seconds"]["p50"])
    for side in (found, estimate):
        one = (side["phase_seconds"]["forward"] + side["phase_seconds"]["backward"]) / 2 + side[
            "phase_seconds"
        ]["optimizer"]
        assert (
            sum(side["kind_seconds"].values()) == pytest.approx(one)
            and side["kind_seconds"]["matmul"] > 0
        )
    assert sum(found["category_bytes"].values()) == pytest.approx(
        found["device_used_bytes"], rel=0.1
    )
    weights = estimate["category_bytes"]["weights"]
    assert found["category_bytes"]["weights"] == pytest.approx(weights, rel=0.1)
    assert found["category_bytes"]["optimizer"] == pytest.approx(
        estimate["category_bytes"]["optimizer"], rel=0.1
    )


def test_json_is_one_document_and_no_ledger_keeps_nothing(planner, llama, tmp_path):
    code, out, err = planner(
        llama,
        *COUNTS,
        *QUICK,
        "--strategy",
        "lora",
        "--strategy",
        "feature_extraction",
        "--json",
        "--no-ledger",
    )
    document = json.loads(out)
    assert (code, err, document["schema"]) == (0, "", 1) and [
        run["setup"]["strategy"] for run in document["runs"]
    ] == ["lora", "feature_extraction"]
    lora = document["runs"][0]
    assert (
        lora["setup"]["lora_rank"] == 16
        and lora["explained"]["kinds_seconds"]
        and lora["explained"]["phases_seconds"][0]["name"] == "forward"
    )
    assert not (tmp_path / "own").exists()


def test_without_a_strategy_the_recommended_one_is_measured(planner, llama, capsys):
    code, out, _ = planner(llama, *COUNTS, *QUICK, "--json", "--no-ledger")
    assert (
        main.run(
            [
                "estimate",
                str(llama),
                *map(str, COUNTS),
                "--gpu",
                "cpu",
                "--micro-batch",
                "2",
                "--precision",
                "fp32",
                "--json",
            ]
        )
        == code
        == 0
    )
    assert [run["setup"]["strategy"] for run in json.loads(out)["runs"]] == [
        json.loads(capsys.readouterr().out)["recommended"]["strategy"]
    ]


def test_out_of_memory_is_a_result(planner, llama, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(timed_steps.MeasuredStep, "__call__", full)
    code, out, err = planner(llama, *COUNTS, *QUICK, "--strategy", "fine_tune")
    (run,) = kept()
    assert (
        (code, err) == (0, "") and "ran out" in out and run.measurement == {"out_of_memory": True}
    )
    assert run.estimate["fits"] is True and any("Tried to allocate" in note for note in run.notes)


@pytest.mark.skipif(
    memory_seen.resident_bytes("VmData") is None,
    reason="the system does not say what a process uses",
)
def test_a_processor_that_is_full_says_so_instead_of_dying(planner, llama, monkeypatch):
    monkeypatch.setattr(memory_seen, "_free_bytes", lambda: 64 * MIB)
    code, _, err = planner(
        llama,
        "--samples",
        4096,
        "--tokens-per-sample",
        200,
        *(2048 if value == 2 else value for value in QUICK),
        "--strategy",
        "fine_tune",
    )
    assert (code, err) == (0, "") and kept()[0].measurement == {"out_of_memory": True}


def texts(path, lengths):
    words = random.Random(0)
    path.write_text(
        "\n".join(
            json.dumps({"text": " ".join(f"w{words.randrange(250)}" for _ in range(length))})
            for length in lengths
        )
    )
    return path


def with_tokenizer(folder):
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(
        models.WordLevel({"[UNK]": 0, **{f"w{i}": i + 3 for i in range(250)}}, unk_token="[UNK]")
    )
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(folder / "tokenizer.json"))
    return folder


def test_own_texts_are_fed_and_the_longest_batch_is_run_for_its_memory(
    planner, llama, tmp_path, monkeypatch
):
    fed = []
    from planner.measure.own_data import OwnData

    before = OwnData._filled
    monkeypatch.setattr(
        OwnData, "_filled", lambda self, *args: fed.append(before(self, *args)) or fed[-1]
    )
    data = texts(tmp_path / "data.jsonl", [*range(4, 34), 100])
    code, out, err = planner(with_tokenizer(llama), data, *QUICK, "--strategy", "fine_tune")
    time, memory = kept()
    assert (code, err) == (0, "") and "batches are the data's own" in " ".join(time.notes)
    assert 4 <= time.setup["sequence_length"] < 100 == memory.setup["sequence_length"]
    assert (
        "device_used_bytes" not in time.measurement
        and memory.measurement["device_used_bytes"] > 0
        and "step_seconds" not in memory.measurement
    )
    assert (
        "synthetic" in " ".join(memory.notes)
        and memory.estimate["category_bytes"]["activations"]
        > time.estimate["category_bytes"]["activations"]
    )
    ids, mask, labels = (
        next(one for one in fed if "attention_mask" in one)[name]
        for name in ("input_ids", "attention_mask", "labels")
    )
    assert (
        (ids[mask == 1] >= 3).all()
        and (labels[mask == 0] == -100).all()
        and (labels[mask == 1] == ids[mask == 1]).all()
    )


def test_texts_without_a_tokenizer_give_synthetic_batches_of_their_length(planner, llama, tmp_path):
    code, *_ = planner(
        llama, texts(tmp_path / "data.jsonl", [20] * 40), *QUICK, "--strategy", "fine_tune"
    )
    run = kept()[0]
    assert (
        code == 0
        and "without a tokenizer.json" in " ".join(run.notes)
        and run.setup["sequence_length"] > 20
    )


def test_own_images_are_decoded(planner, tmp_path):
    image = pytest.importorskip("PIL.Image")
    for index in range(8):
        place = tmp_path / "images" / "ab"[index % 2]
        place.mkdir(parents=True, exist_ok=True)
        image.new("RGB", (40 + index, 50), (index * 20, 9, 9)).save(place / f"{index}.png")
    code, _, err = planner(
        folder_of(tmp_path / "vit", VIT), tmp_path / "images", *QUICK, "--strategy", "fine_tune"
    )
    (run,) = kept()
    assert (code, err) == (0, "") and "8 of its samples" in " ".join(run.notes), run.notes
    assert (
        run.setup["classes"] == 2
        and "sequence_length" not in run.setup
        and run.measurement["data_seconds"] > 0
    )


def test_the_folders_own_weights_are_trained(planner, llama):
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(LlamaConfig(**LLAMA))
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()},
        llama / "model.safetensors",
    )
    for strategy in ("fine_tune", "lora"):
        assert planner(llama, *COUNTS, *QUICK, "--strategy", strategy)[0] == 0
    whole, adapted = kept()
    assert "weights are those of llama" in whole.notes and any(
        "of the weights are those of llama, the rest random" in note for note in adapted.notes
    )


def test_loaded_weights_are_the_files(llama):
    from safetensors.torch import save_file

    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    save_file(
        {
            "0.weight": torch.full((4, 3), 2.0),
            "1.running_mean": torch.full((4,), 5.0),
            "0.bias": torch.zeros(7),
        },
        llama / "a.safetensors",
    )
    assert timed_steps.load_weights(module, [llama / "a.safetensors"]) == 12
    assert (module[0].weight == 2).all() and (module[1].running_mean == 5).all()


def test_damaged_weights_are_one_line(planner, llama):
    from safetensors.torch import save_file

    (llama / "model.safetensors").write_bytes(b"no tensors")
    code, out, err = planner(llama, *COUNTS, *QUICK, "--strategy", "fine_tune")
    assert code == 2 and out == "" and err.count("\n") == 1 and "model.safetensors" in err
    save_file({"weight": torch.zeros(64, 64)}, llama / "cut.safetensors")
    (llama / "cut.safetensors").write_bytes((llama / "cut.safetensors").read_bytes()[:-64])
    with pytest.raises(ModelError, match="weights cannot be read"):
        timed_steps.load_weights(torch.nn.Linear(64, 64), [llama / "cut.safetensors"])


@pytest.mark.parametrize(
    "flags, said",
    [
        (("--strategy", "rag"), "trains nothing"),
        (("--gpu", "h100-sxm"), "this machine trains on"),
        (("--gpus", 2), "one device"),
        (("--device", "tpu"), "no device 'tpu'"),
        (("--seconds", 0), "more than 0"),
        (("--strategy", "fine_tun"), "fine_tune"),
    ],
)
def test_a_wrong_question_is_one_line(planner, llama, flags, said):
    code, out, err = planner(llama, *COUNTS, *QUICK, *flags)
    assert (
        code == 2
        and out == ""
        and err.startswith("planner: ")
        and err.count("\n") == 1
        and said in err
    ), err
    assert not kept()


def test_a_device_that_is_not_there_is_the_machines_failure(planner, llama):
    code, out, err = planner(llama, *COUNTS, "--device", "cuda:63")
    assert code == 3 and out == "" and "no device 'cuda:63'" in err


def test_a_ledger_that_cannot_be_written_is_refused_before_the_work(
    planner, llama, tmp_path, monkeypatch
):
    monkeypatch.setattr(timed_steps.MeasuredStep, "__call__", lambda *_: pytest.fail("trained"))
    (tmp_path / "file").write_text("not a ledger")
    code, out, err = planner(
        llama, *COUNTS, *QUICK, "--strategy", "fine_tune", "--ledger", tmp_path / "file"
    )
    assert code in (2, 3) and out == "" and err.count("\n") == 1


def test_a_fresh_process_is_smaller_than_this_one(monkeypatch):
    monkeypatch.undo()
    found = memory_seen.fresh_process_bytes("factory")
    assert found is None or 20 * MIB < found < 4096 * MIB


def test_a_busy_processor_is_said():
    assert (
        busy_notes(1.5, 2) == [] == busy_notes(9.0, None)
        and "load 3.2 on 2 cores" in busy_notes(3.21, 2)[0]
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_the_allocator_tells_what_it_held(planner, llama):
    assert (
        planner(
            llama,
            "--samples",
            512,
            "--tokens-per-sample",
            128,
            "--device",
            "cuda",
            "--seconds",
            3,
            "--micro-batch",
            8,
            "--strategy",
            "fine_tune",
        )[0]
        == 0
    )
    run = kept()[0]
    found, parts = run.measurement, run.measurement["category_bytes"]
    assert sum(parts[name] for name in CATEGORIES) == pytest.approx(
        found["peak_allocated_bytes"], rel=0.05
    )
    assert (
        parts["fragmentation"] == found["peak_reserved_bytes"] - found["peak_allocated_bytes"]
        and found["kind_seconds"]["matmul"] > 0
    )
    assert parts["weights"] > 0 and parts["activations"] > 0 and parts["optimizer"] > 0
