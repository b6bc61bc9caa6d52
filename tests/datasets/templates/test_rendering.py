"""Chat templates: rendered as transformers renders them, whoever wrote them, and counted."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.datasets.conversation import Conversation, Turn
from planner.datasets.templates import families
from planner.datasets.templates.adapting import adapted, unread
from planner.datasets.templates.chat_template import ChatTemplate
from planner.datasets.templates.choosing import ModelText, chosen_template, stand_in
from planner.datasets.templates.folder import own_template
from planner.datasets.templates.lengths import count_text, rendered_lengths
from planner.datasets.templates.rendering import messages_of, render
from planner.datasets.templates.sentences import first_lines
from planner.datasets.tokenizer import TokenizerFile
from planner.datasets.tokens import BytesPerToken
from planner.errors import DataError

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "How the weather is in a city, with ü",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "its name"}},
            "required": ["city"],
        },
    },
}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Köln", "n": 3}}}

texts = st.text(
    st.characters(blacklist_categories=("Cs",), max_codepoint=0x9FFF), min_size=1, max_size=40
)


@st.composite
def conversations(draw, tools: bool = True) -> Conversation:
    """A system turn or none; questions and answers, some with thoughts, calls and their results."""
    turns = [Turn("system", draw(texts))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        turns.append(Turn("user", draw(texts)))
        if tools and draw(st.booleans()):
            turns.append(Turn("assistant", "", True, tool_calls=(CALL,)))
            turns.append(Turn("tool", draw(texts)))
        thought = draw(st.one_of(st.just(""), texts))
        turns.append(Turn("assistant", draw(texts), True, reasoning=thought))
    schemas = (TOOL,) if tools and draw(st.booleans()) else ()
    return Conversation(tuple(turns), schemas)


@pytest.fixture(scope="module")
def transformers_tokenizer():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, "a")))


def applied(tokenizer, template: ChatTemplate, conversation: Conversation) -> str:
    """By transformers' own ``apply_chat_template``, of what the template reads."""
    conversation = adapted(conversation, unread(template.text))
    return tokenizer.apply_chat_template(
        messages_of(conversation),
        tools=[dict(tool) for tool in conversation.tools] or None,
        chat_template=template.text,
        tokenize=False,
        **template.variables,
    )


@pytest.mark.parametrize("family", families.families())
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_shipped_template_is_rendered_as_transformers_renders_it(
    family, data, transformers_tokenizer
):
    template = families.family_template(family)
    # the day is the planner's there, the clock's here: without it the texts must be the same
    undated = re.sub(r"strftime_now\('[^']+'\)", "'a day'", template.text)
    template = replace(template, text=undated)
    conversation = data.draw(conversations())
    (found,) = render(template, [conversation])
    if found.form == "":
        assert found.text == applied(transformers_tokenizer, template, conversation)
    else:
        with pytest.raises(Exception):  # noqa: B017  refused there too, by whatever it raises
            applied(transformers_tokenizer, template, conversation)
    for turn in conversation.turns:
        if turn.role in ("user", "assistant"):
            assert turn.content.strip() in found.text


@settings(max_examples=40, deadline=None)
@given(conversation=conversations(tools=False))
@pytest.mark.parametrize("family", ["llama-3", "chatml", "gemma", "mistral-v3", "llama-2"])
def test_the_loss_is_taken_on_the_answers(family, conversation):
    (found,) = render(families.family_template(family), [conversation])
    answers = [turn.content.strip() for turn in conversation.turns if turn.trained]
    pieces = [found.text[start:stop] for start, stop in found.trained]
    assert len(pieces) == len(answers)
    assert all(answer in piece for answer, piece in zip(answers, pieces))
    questions = [turn.content.strip() for turn in conversation.turns if turn.role == "user"]
    outside = found.text
    for piece in pieces:
        outside = outside.replace(piece, "", 1)
    assert all(question in found.text for question in questions)
    assert len(outside) + sum(map(len, pieces)) == len(found.text)


def test_only_the_answers_that_the_data_trains_on_are_marked():
    turns = (
        Turn("user", "one"),
        Turn("assistant", "old"),
        Turn("user", "two"),
        Turn("assistant", "new", trained=True),
    )
    (found,) = render(families.family_template("llama-3"), [Conversation(turns)])
    assert [found.text[a:b] for a, b in found.trained] == ["new<|eot_id|>"]


ASKED = Conversation((Turn("system", "Be brief."), Turn("user", "Why?"), Turn("assistant", "So.")))
NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}"
    "{% endif %}<{{ m.role }}>{{ m.content }}{% endfor %}"
)


def test_a_refused_system_role_goes_before_the_first_question():
    (found,) = render(ChatTemplate("t", NO_SYSTEM), [ASKED])
    assert found.form == "system"
    assert found.text == "<user>Be brief.\n\nWhy?<assistant>So."


def test_roles_that_a_template_refuses_become_question_and_answer():
    strict = (
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('alternate') }}{% endif %}[{{ m.content }}]{% endfor %}"
    )
    turns = (
        Turn("user", "rain?"),
        Turn("assistant", "", True, tool_calls=(CALL,)),
        Turn("tool", "wet"),
        Turn("tool", "cold"),
        Turn("assistant", "yes", True),
    )
    (found,) = render(ChatTemplate("t", strict), [Conversation(turns)])
    assert found.form == "two_roles"
    assert found.text.endswith("[wet\n\ncold][yes]") and '"Köln"' in found.text


def test_arguments_are_written_as_text_for_templates_that_join_them():
    joined = (
        "{# tools, reasoning #}{% for m in messages %}{% for c in m.tool_calls or [] %}"
        "{{ 'c:' + c.function.arguments }}{% endfor %}{% endfor %}"
    )
    turns = (Turn("user", "rain?"), Turn("assistant", "", True, tool_calls=(CALL,)))
    (found,) = render(ChatTemplate("t", joined), [Conversation(turns)])
    assert found.form == "string_arguments" and found.text == 'c:{"city": "Köln", "n": 3}'


def test_templates_that_read_lists_of_parts_get_them():
    parts = (
        "{% for m in messages %}{% for p in m.content %}{% if p.type == 'image' %}<image>"
        "{% elif p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %}{% endfor %}"
    )
    seen = Conversation((Turn("user", "What?", images=2), Turn("assistant", "Cats.", True)))
    assert render(ChatTemplate("t", parts), [seen])[0].text == "<image><image>What?Cats."
    text_only = families.family_template("llama-3")
    assert "What?" in render(text_only, [seen])[0].text


THOUGHT = Turn("assistant", "42.", True, reasoning="Six times seven.")


def test_what_a_template_does_not_read_stands_in_the_texts():
    talk = Conversation((Turn("user", "6 × 7?"), THOUGHT), (TOOL,))
    (found,) = render(families.family_template("llama-3"), [talk])
    assert "<think>\nSix times seven.\n</think>\n\n42." in found.text
    assert "How the weather is in a city" in found.text
    called = Conversation((Turn("user", "rain?"), Turn("assistant", "", True, tool_calls=(CALL,))))
    assert '"Köln"' in render(families.family_template("phi-4"), [called])[0].text
    counter = BytesPerToken.for_vocabulary(None)
    lengths = rendered_lengths(families.family_template("llama-3"), [talk], counter)
    assert lengths.moved == {"tools": 1.0, "thoughts": 1.0} and not lengths.lost
    said = [line.text for line in first_lines(families.family_template("llama-3"), lengths, "m")]
    assert any("reads no thoughts" in text for text in said)


def test_what_a_template_leaves_out_is_said_with_its_share():
    turns = (Turn("user", "6 × 7?"), replace(THOUGHT, reasoning="long " * 50), Turn("user", "Why?"))
    talk = Conversation((*turns, Turn("assistant", "Because.", True)))
    template = families.family_template("qwen3")
    lengths = rendered_lengths(template, [talk], BytesPerToken.for_vocabulary(None))
    assert lengths.lost["thoughts"] > 0.8
    (line,) = [x for x in first_lines(template, lengths, "m") if x.topic == "left_out"]
    assert line.warning and "leaves out thoughts" in line.text


def test_roles_that_a_template_passes_over_are_left_out():
    only_users = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}"
    )
    template = ChatTemplate("t", only_users + "{# tools reasoning tool_calls #}")
    lengths = rendered_lengths(template, [ASKED], BytesPerToken.for_vocabulary(None))
    assert set(lengths.lost) == {"system", "assistant"}


def test_pictures_are_said_not_to_be_counted():
    seen = Conversation((Turn("user", "What?", images=2), Turn("assistant", "Cats.", True)))
    template = families.family_template("chatml")
    lengths = rendered_lengths(template, [seen], BytesPerToken.for_vocabulary(None))
    said = [line for line in first_lines(template, lengths, "m") if "pictures" in line.text]
    assert len(said) == 1 and said[0].warning and said[0].text.startswith("2 pictures a record")


def test_a_record_that_no_form_suits_stands_one_text_after_the_other():
    picky = "{% if messages|length != 2 %}{{ raise_exception('two') }}{% endif %}ok"
    two = Conversation((Turn("user", "a"), Turn("assistant", "b", True)))
    four = Conversation((*two.turns, Turn("user", "c"), Turn("assistant", "d", True)))
    found = render(ChatTemplate("t", picky), [two, four])
    assert [item.form for item in found] == ["", None]
    assert found[1].text == "a\nb\nc\nd"


HOSTILE = {
    "endless loop": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}"
    "{% endfor %}",
    "doubling": "{% set n = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}"
    "{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
    "multiplied": "{{ 'a' * 10**11 }}",
    "endless output": "{% for a in range(9999) %}{{ 'x' * 90000 }}{% endfor %}",
    "range": "{% for a in range(10**9) %}x{% endfor %}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "syntax": "{% for %}",
    "escape": "{{ cycler.__init__.__globals__.os.system('touch pwned') }}",
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_ends_in_one_line(name, monkeypatch, tmp_path):
    from planner.datasets.templates import isolated

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        isolated, "constant", {"template_seconds": 2, "template_megabytes": 512}.__getitem__
    )
    started = time.monotonic()
    with pytest.raises(DataError) as error:
        render(ChatTemplate(name, HOSTILE[name], source="m/chat.jinja", own=True), [ASKED])
    assert time.monotonic() - started < 10
    assert "m/chat.jinja" in str(error.value) and len(str(error.value)) < 300
    assert not (tmp_path / "pwned").exists()


def test_a_template_of_a_folder_is_rendered_by_a_process_of_its_own_alike(tmp_path):
    shipped = families.family_template("qwen3")
    apart = replace(shipped, own=True)
    turns = (Turn("user", "rain?"), Turn("assistant", "", True, tool_calls=(CALL,)))
    talks = [ASKED, Conversation(turns, (TOOL,))]
    assert render(apart, talks) == render(shipped, talks)


def write_settings(folder, **more):
    settings = {
        "bos_token": "<s>",
        "eos_token": {"content": "</s>", "lstrip": False},
        "added_tokens_decoder": {"0": {"content": "<|turn|>"}},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | more))


def test_the_template_is_found_in_every_place_where_models_keep_it(tmp_path):
    write_settings(tmp_path)
    assert own_template(tmp_path, tools=False) is None
    write_settings(tmp_path, chat_template="settings")
    found = own_template(tmp_path, tools=False)
    assert (found.text, found.own, found.assumed) == ("settings", True, False)
    assert found.variables == {"bos_token": "<s>", "eos_token": "</s>"}
    assert set(found.special) == {"<|turn|>", "<s>", "</s>"}
    named = [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]
    write_settings(tmp_path, chat_template=named)
    assert own_template(tmp_path, tools=False).text == "d"
    assert own_template(tmp_path, tools=True).text == "t"
    (tmp_path / "chat_template.json").write_text('{"chat_template": "processor"}')
    assert own_template(tmp_path, tools=False).text == "processor"
    (tmp_path / "chat_template.jinja").write_text("alone")
    assert own_template(tmp_path, tools=False).text == "alone"


@pytest.mark.parametrize("broken", ["", "{", "[1]", '{"chat_template": 3}', "[" * 100_000])
def test_broken_settings_hold_no_template(tmp_path, broken):
    (tmp_path / "tokenizer_config.json").write_text(broken)
    assert own_template(tmp_path, tools=False) is None


@pytest.mark.parametrize(
    ("name", "model_type", "vocabulary", "family"),
    [
        ("Llama-3.2-1B", "llama", 128256, "llama-3.1"),
        ("Meta-Llama-3-8B", "llama", 128256, "llama-3"),
        ("meta-llama/Llama-2-7b-hf", "llama", 32000, "llama-2"),
        ("TinyLlama-1.1B", "llama", 32000, "zephyr"),
        ("SmolLM2-135M", "llama", 49152, "smollm2"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2", 152064, "qwen2.5"),
        ("Qwen2-7B", "qwen2", 152064, "qwen2"),
        ("Qwen3-8B", "qwen3", 151936, "qwen3"),
        ("Mistral-7B-v0.1", "mistral", 32000, "mistral-v1"),
        ("Mistral-7B-v0.3", "mistral", 32768, "mistral-v3"),
        ("gemma-2-2b", "gemma2", 256000, "gemma"),
        ("microsoft/phi-4", "phi3", 100352, "phi-4"),
        ("Phi-3-mini-4k-instruct", "phi3", 32064, "phi-3"),
        ("my-finetune", "llama", 128256, "llama-3.1"),
        ("my-finetune", "mistral", 32768, "mistral-v3"),
        ("gpt2", "gpt2", 50257, None),
    ],
)
def test_the_family_follows_name_then_type(name, model_type, vocabulary, family):
    assert families.family_of(name, model_type, vocabulary) == family


def test_a_base_model_is_trained_on_texts_one_after_the_other(tmp_path):
    write_settings(tmp_path, add_bos_token=True)
    model = ModelText("base", "llama", 128256, tmp_path)
    template = chosen_template(model, chat=False, tools=False)
    pair = Conversation((Turn("user", "2 + 2 ="), Turn("assistant", " 4", True)))
    assert template.plain and render(template, [pair])[0].text == "<s>2 + 2 = 4</s>"
    columns = frozenset({"instruction", "input", "output"})
    alpaca = chosen_template(model, chat=False, tools=False, columns=columns)
    assert "### Instruction:\n2 + 2 =" in render(alpaca, [pair])[0].text
    # records of roles need marks: the family's are taken, and named as assumed
    assert chosen_template(model, chat=True, tools=False).name == "llama-3.1"
    assert chosen_template(ModelText("gpt2", "gpt2"), chat=True, tools=False).name == "chatml"


def test_a_template_that_fails_is_stood_in_for_by_the_familys():
    failed = ChatTemplate("own", "{% for %}", source="m/tokenizer_config.json", own=True)
    found = stand_in(ModelText("Qwen3-8B", "qwen3"), failed, "it has no end")
    assert found.name == "qwen3" and "m/tokenizer_config.json: it has no end" in found.note


def test_special_tokens_count_one_each_without_a_tokenizer():
    template = families.family_template("llama-3")
    counter = BytesPerToken.for_vocabulary(128256)
    talk = Conversation((Turn("user", "word " * 100), Turn("assistant", "word " * 100, True)))
    text = render(template, [talk])[0].text
    words = counter.count([("word " * 100).strip()])[0] * 2
    # begin, and for each of two turns: three marks, a role, a newline token
    assert count_text(counter, [text], template)[0] == pytest.approx(words + 11, abs=1)
    assert count_text(counter, [""], template)[0] == 0


@pytest.fixture
def small_tokenizer(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {"[UNK]": 0} | {f"w{i}": i + 1 for i in range(50)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(
        ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return TokenizerFile(tmp_path)


def many_talks(count: int) -> list[Conversation]:
    random = np.random.default_rng(0)

    def text() -> str:
        return " ".join(f"w{i}" for i in random.integers(0, 50, random.integers(1, 60)))

    def talk() -> Conversation:
        system = [Turn("system", text())] if random.random() < 0.3 else []
        rounds = random.integers(1, 5)
        pairs = [
            t for _ in range(rounds) for t in (Turn("user", text()), Turn("assistant", text()))
        ]
        return Conversation((*system, *pairs))

    return [talk() for _ in range(count)]


def test_many_records_follow_from_a_rendered_part(small_tokenizer):
    talks = many_talks(6000)
    template = families.family_template("llama-3")
    found = rendered_lengths(template, talks, small_tokenizer)
    assert found.rendered == 2000 and len(found.tokens) == 6000
    exact = small_tokenizer.count([item.text for item in render(template, talks)])
    assert found.tokens.mean() == pytest.approx(exact.mean(), rel=0.005)
    assert np.abs(found.tokens - exact).max() <= 1
    assert 0 <= found.relative_error < 0.01
    few = rendered_lengths(template, talks[:100], small_tokenizer)
    assert few.relative_error == 0 and few.tokens.tolist() == exact[:100].tolist()
