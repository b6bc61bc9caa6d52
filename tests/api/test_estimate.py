"""``from planner import estimate, choose``: typed objects that are the documents of the command
line."""

import doctest
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

import planner
from planner import Answer, PlannerError, Question, choose, estimate
from planner.answer.estimate import estimate as document_of
from planner.api.option import NothingHere
from planner.cli.main import cli
from planner.errors import flag

ASKED = dict(samples=1000, tokens_per_sample=300, gpu="l4")
THREE = dict(
    strategy=["lora", "fine_tune", "prompting"], requests_per_month=1000, output_tokens=100, **ASKED
)


@pytest.fixture(scope="module")
def answer():
    return estimate("Llama-3.2-1B", **THREE)


def test_the_answer_is_the_document_key_for_key(answer):
    question = Question(model="Llama-3.2-1B", **THREE)
    assert isinstance(answer, dict) and answer == document_of(question)
    assert json.loads(answer.to_json()) == answer
    assert type(answer.to_dict()) is dict and answer.to_dict() == answer


def test_figures_by_name_are_the_documents(answer):
    best = answer.best
    raw = next(o for o in answer["options"] if o["strategy"] == best.strategy)
    assert best.hours.p50 == raw["run"]["wall_hours"]["p50"]
    assert best.gpu_hours.p90 == raw["run"]["gpu_hours"]["p90"]
    assert best.usd.p10 == raw["cost"]["usd"]["p10"]
    assert best.memory_gib.p50 * 2**30 == raw["memory"]["device_used_bytes"]["p50"]
    assert best.gpu_memory_gib * 2**30 == raw["memory"]["device_total_bytes"]
    assert [o.strategy for o in answer.options] == [o["strategy"] for o in answer["options"]]
    assert answer.why == answer["recommended"]["why"]
    assert answer.typed.schema_version == 1
    assert answer.option("fine-tune").name == "fine_tune on NVIDIA L4"


def test_what_an_option_has_not_is_refused_in_one_line(answer):
    prompting = answer.option("prompting")
    assert prompting.run is None and prompting.memory is None
    for figure in ("hours", "gpu_hours", "memory_gib", "gpu_memory_gib"):
        with pytest.raises(NothingHere, match="^prompting.* has no "):
            getattr(prompting, figure)


def test_an_unknown_strategy_of_an_answer_is_guessed(answer):
    with pytest.raises(PlannerError, match="Did you mean lora"):
        answer.option("loraa")


def test_nothing_recommended_says_why():
    answer = estimate("Llama-3.1-8B", strategy="fine_tune", **ASKED, max_usd=0.0001)
    assert answer["recommended"] is None and answer.why is None
    with pytest.raises(PlannerError, match="nothing can be recommended: .*See answer.options"):
        _ = answer.best
    assert "nothing recommended" in repr(answer)
    assert "nothing can be recommended" in answer._repr_html_()


def test_the_command_line_gives_the_same_document(answer):
    flags = []
    for name, value in THREE.items():
        for one in value if isinstance(value, list) else [value]:
            flags += [flag(name), str(one)]
    said = CliRunner().invoke(cli, ["estimate", "Llama-3.2-1B", *flags, "--json"])
    assert json.loads(said.stdout) == answer


@pytest.mark.parametrize(
    "arguments, said",
    [
        (dict(samplez=3), "unknown argument 'samplez'. Did you mean samples"),
        (dict(samples=3, lora_rank="x"), "lora_rank: 'x' is not a whole number"),
        (dict(samples=3, strategy="loora"), "strategy: 'loora' is not allowed. Did you mean lora"),
        (dict(samples="20q"), "samples: '20q' is not a whole number"),
        (dict(), "no data"),
        (dict(samples=3), "tokens_per_sample: a text model needs the samples' length"),
    ],
)
@pytest.mark.parametrize("ask", [estimate, choose])
def test_a_wrong_argument_is_one_line_that_calls_it_as_python_does(ask, arguments, said):
    with pytest.raises(PlannerError) as refused:
        ask("gpt2", **arguments)
    line = str(refused.value)
    assert line.startswith(said) and "\n" not in line and "--" not in line


def test_numbers_may_be_written_short():
    short = estimate("gpt2", samples="1k", tokens_per_sample="0.3k", gpu="l4", strategy="lora")
    assert short == estimate("gpt2", samples=1000, tokens_per_sample=300, gpu="l4", strategy="lora")


def test_a_question_is_asked_again_with_other_fields():
    question = Question(model="gpt2", samples=1000, tokens_per_sample=300, gpu="l4")
    changed = estimate(question.noting("kept"), strategy="lora", epochs=2)
    assert changed["question"]["epochs"] == 2 and changed["question"]["samples"] == 1000
    assert [option.strategy for option in changed.options] == ["lora"]
    assert any("kept" in line for line in [*changed.first_lines, *changed["warnings"]])
    with pytest.raises(PlannerError, match="unknown argument 'epoch'. Did you mean epochs"):
        estimate(question, epoch=2)


def test_a_project_file_and_paths_are_taken(tmp_path):
    data = tmp_path / "chats.jsonl"
    data.write_text('{"text": "a line of text that is trained on"}\n' * 40)
    project = tmp_path / "project.yaml"
    project.write_text("model: gpt2\ndata: chats.jsonl\ngpu: l4\nstrategy: [lora]\n")
    assert estimate(project)["dataset"]["samples"] == 40
    assert estimate("gpt2", data, gpu="l4", strategy="lora")["dataset"]["samples"] == 40


def test_choose_is_the_function_whatever_is_imported():
    from planner.choose.decision import decide

    decision = choose("gpt2", strategy=["lora"], **ASKED)
    assert planner.choose is choose
    question = Question(model="gpt2", strategy=["lora"], **ASKED)
    assert isinstance(decision, dict) and decision == decide(question)
    assert decision.best.usd.p50 == decision["recommended"]["usd"]["p50"]
    assert decision.best.name.startswith("lora on NVIDIA L4 at ")
    assert [way.gpus for way in decision.front] == [w["gpus"] for w in decision["front"]["ways"]]
    assert len(decision.to_pandas()) == len(decision.front) and "lora on" in repr(decision)
    assert decision.cheapest is not None and decision.why


def test_a_decision_that_nothing_keeps_says_why():
    decision = choose("gpt2", strategy=["lora"], **ASKED, max_hours=1e-6)
    assert decision.why is None and "nothing can be recommended" in repr(decision)
    assert "nothing can be recommended" in decision._repr_html_()
    with pytest.raises(PlannerError, match="nothing can be recommended: lora: .*Raise a limit"):
        _ = decision.best


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'estimte'"):
        planner.estimte  # noqa: B018
    assert set(planner.__all__) <= set(dir(planner))
    assert all(getattr(planner, name) is not None for name in planner.__all__)


def test_import_planner_alone_is_light():
    code = (
        "import sys, planner\nassert not {'pydantic', 'numpy', 'rich', 'click'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_users_script_is_clean_for_pyright(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from planner import choose, estimate\n"
        "answer = estimate('Llama-3.2-1B', data='chats.jsonl', strategy=['lora'], samples='20k')\n"
        "hours: float = answer.best.hours.p50\n"
        "usd: float = answer.best.usd.p90\n"
        "gib: float = answer.best.memory_gib.p10\n"
        "names: list[str] = [option.strategy for option in answer.options]\n"
        "first = answer['options'][0]['strategy']\n"
        "rows: int = len(answer.to_pandas())\n"
        "answer.save('budget.html')\n"
        "where: str | None = choose('gpt2', samples=3, max_usd=20).best.gpu\n"
    )
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from planner import estimate\nestimate('gpt2', samplez=3)\n")
    pyright = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
    said = subprocess.run([*pyright, str(script)], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout
    said = subprocess.run([*pyright, str(wrong)], capture_output=True, text=True)
    assert said.returncode == 1 and 'No parameter named "samplez"' in said.stdout


def test_the_examples_of_the_docstrings_are_true():
    from planner.api import asking

    for module in (planner, asking):
        done = doctest.testmod(module)
        assert done.attempted and not done.failed


def test_answers_are_typed_for_checkers():
    from importlib.resources import files

    assert (files("planner") / "py.typed").is_file()
    assert issubclass(Answer, dict)
