"""Data of encoders: pairs and triplets to embed, pairs to rerank, questions with passages, tagged
tokens; and the task that their columns tell."""

import json

import pytest
from shapes_of_records import text

from planner.datasets.scanning import scan
from planner.plan.inputs.problem import understand
from planner.question import Question

COUNT = 60


def written(tmp_path, make, name="data.jsonl"):
    file = tmp_path / name
    file.write_text("\n".join(json.dumps(make(i)) for i in range(COUNT)))
    return file


def triplet(i):
    return {"anchor": text((i, 1), 6), "positive": text((i, 2), 30), "negative": text((i, 3), 30)}


def listed(i):
    return {
        "query": text((i, 1), 6),
        "pos": [text((i, 2), 30)],
        "neg": [text((i, n), 30) for n in range(3, 12)],
    }


def squad(i):
    passage = text((i, 1), 80)
    return {
        "id": str(i),
        "context": passage,
        "question": text((i, 2), 8) + "?",
        "answers": {"text": [passage[4:20]], "answer_start": [4]},
    }


def tagged(i):
    words = text((i, 1), 12).split()
    return {"id": str(i), "tokens": words, "ner_tags": [(i + n) % 9 for n in range(len(words))]}


def test_a_triplet_is_an_anchor_a_positive_and_a_hard_negative(tmp_path):
    found = scan(written(tmp_path, triplet), task="text_embedding")
    assert found.samples == COUNT and found.negatives == 1
    assert 3 * found.mean_length < found.target_lengths.mean()
    assert found.columns["inputs"] == "anchor" and found.columns["target"] == "positive"
    assert any("1 hard negative " in line.text for line in found.first_lines)


def test_of_a_list_of_negatives_seven_are_read(tmp_path):
    found = scan(written(tmp_path, listed), task="text_embedding")
    assert found.negatives == 7
    assert any("7 of the list under 'neg'" in line.text for line in found.first_lines)


@pytest.mark.parametrize("make, pairs", [(triplet, 2), (listed, 10)])
def test_a_reranker_reads_each_passage_with_its_query(tmp_path, make, pairs):
    found = scan(written(tmp_path, make), task="reranking")
    assert found.samples == COUNT * pairs and found.classes == 2
    assert found.columns["kind"] == "pair" and found.target_lengths is None


def test_columns_are_read_by_their_order_where_no_name_is_known(tmp_path):
    def record(i):
        return {"left": text((i, 1), 6), "right": text((i, 2), 30), "score": (i % 11) / 10}

    found = scan(written(tmp_path, record), task="text_embedding")
    assert (found.columns["inputs"], found.columns["target"]) == ("left", "right")
    assert found.negatives is None
    assert any("'score' is not read" in line.text for line in found.first_lines)


def test_one_text_is_its_own_positive(tmp_path):
    file = written(tmp_path, lambda i: {"text": text(i, 20)})
    found = scan(file, task="text_embedding")
    assert found.target_lengths is None
    assert any("SimCSE" in line.text for line in found.first_lines)
    problem = understand(
        Question(model="all-MiniLM-L6-v2", data=str(file), task="text_embedding", offline=True)
    )
    assert (problem.data.target_lengths == problem.data.lengths).all()


def test_an_answer_is_a_part_of_its_passage(tmp_path):
    found = scan(written(tmp_path, squad), task="question_answering")
    assert found.columns["kind"] == "span"
    assert found.columns["inputs"] == "question, context"
    assert not [line for line in found.first_lines if line.topic == "left_out"]
    assert any("doc_stride" in said for said in found.assumptions)


def test_nested_squad_has_a_record_a_question(tmp_path):
    def article(i):
        one = squad(i)
        answers = [{"text": one["answers"]["text"][0], "answer_start": 4}]
        questions = [
            {"id": f"{i}{q}", "question": text((i, q), 8), "answers": answers} for q in "ab"
        ]
        return {"title": "T", "paragraphs": [{"context": one["context"], "qas": questions}]}

    file = tmp_path / "squad.json"
    file.write_text(json.dumps({"version": "1.1", "data": [article(i) for i in range(COUNT)]}))
    found = scan(file, task="question_answering")
    assert found.samples == 2 * COUNT and found.told_task == "question_answering"
    assert found.columns["kind"] == "span"


CONLL = "\n".join(["EU NNP B-NP B-ORG", "rejects VBZ B-VP O", "German JJ B-NP B-MISC", ""])


@pytest.mark.parametrize("suffix", ["conll", "bio", "txt"])
def test_tagged_lines_are_sentences_of_tokens(tmp_path, suffix):
    file = tmp_path / f"train.{suffix}"
    file.write_text("-DOCSTART- -X- O O\n\n" + "\n".join([CONLL] * 20))
    found = scan(file, task="token_classification")
    assert (found.samples, found.classes) == (20, 3)
    assert found.told_task == "token_classification"


@pytest.mark.parametrize(
    "make, model, task",
    [
        (tagged, "bert-base-cased", "token_classification"),
        (squad, "bert-base-uncased", "question_answering"),
        (triplet, "bert-base-uncased", "text_embedding"),
        (listed, "all-MiniLM-L6-v2", "text_embedding"),
        (triplet, "gpt2", "causal_lm"),
    ],
)
def test_the_columns_tell_an_encoder_its_task(tmp_path, make, model, task):
    problem = understand(Question(model=model, data=str(written(tmp_path, make)), offline=True))
    assert problem.facts.task == task
    assert len([line for line in problem.first_lines if line.topic == "task"]) == 1


def test_in_batch_negatives_are_said_first(tmp_path):
    problem = understand(
        Question(
            model="bert-base-uncased",
            data=str(written(tmp_path, triplet)),
            task="text_embedding",
            offline=True,
        )
    )
    assert any("micro-batch" in line.text for line in problem.first_lines)
    assert problem.data.negatives == 1


@pytest.mark.parametrize(("asked", "texts"), [(None, 2), (0, 1), (5, 6)])
def test_tokens_of_a_query_count_its_positive_and_its_negatives(tmp_path, asked, texts):
    question = Question(
        model="sentence-transformers/all-MiniLM-L6-v2",
        data=str(written(tmp_path, triplet)),
        negatives=asked,
        gpu="t4",
    )
    data = understand(question).data
    query, passage = data.lengths.mean(), data.target_lengths.mean()
    assert data.tokens == pytest.approx(COUNT * (query + texts * passage))
    batches = data.batches(8)
    assert batches.real_tokens_per_sample == pytest.approx(query + texts * passage)
    assert batches.padded_tokens_per_sample >= batches.real_tokens_per_sample
    again = data.batches(8, padding="max", max_length=64)
    assert again.padded_tokens_per_sample == pytest.approx(
        64 + texts * again.target_mean_padded_length
    )


@pytest.mark.parametrize(
    "model", ["sentence-transformers/all-MiniLM-L6-v2", "openai/clip-vit-base-patch32"]
)
def test_what_a_loss_in_the_batch_is_taken_against_is_said_one_way(model):
    from planner.plan.inputs.tasks import task_lines

    question = Question(model=model, samples=100, tokens_per_sample=12, gpu="t4")
    (line,) = task_lines(understand(question).facts)
    assert "of its micro-batch: accumulation and more devices add none" in line.text
