"""Reasoning, contexts, preferences, translations, labels, documents and tokens."""

from __future__ import annotations

from benchmarks.shapes.shape import (
    Made,
    Writer,
    asked,
    said,
    shape,
)


@shape("reasoning column", template="qwen3")
def _reasoning_column(w: Writer) -> Made:
    question, thought, answer = w.question(), w.long(), w.answer()
    talk = said(("user", question), ("assistant", answer), reasoning_content=thought)
    return Made({"question": question, "reasoning": thought, "answer": answer}, talk)


@shape("question/context/answer")
def _context(w: Writer) -> Made:
    context, question, answer = w.long(), w.question(), w.text(2, 9)
    record = {"context": context, "question": question, "answer": answer}
    return Made(record, asked(f"{context}\n{question}", answer))


@shape("OpenOrca DPO: system, question, chosen, rejected")
def _orca(w: Writer) -> Made:
    system, question, answer = w.text(10, 30), w.question(), w.answer()
    record = {"system": system, "question": question, "chosen": answer, "rejected": w.answer()}
    return Made(record, asked(question, answer, system))


@shape("preference, strings")
def _preference(w: Writer) -> Made:
    question, answer = w.question(), w.answer()
    record = {"prompt": question, "chosen": answer, "rejected": w.answer()}
    return Made(record, asked(question, answer))


@shape("preference, lists with an explicit prompt")
def _explicit(w: Writer) -> Made:
    question, answer = w.question(), w.answer()
    record = {
        "prompt": [{"role": "user", "content": question}],
        "chosen": [{"role": "assistant", "content": answer}],
        "rejected": [{"role": "assistant", "content": w.answer()}],
    }
    return Made(record, asked(question, answer))


@shape("preference, lists with the prompt inside")
def _implicit(w: Writer) -> Made:
    question, answer = w.question(), w.answer()
    ask = {"role": "user", "content": question}
    record = {
        "chosen": [ask, {"role": "assistant", "content": answer}],
        "rejected": [ask, {"role": "assistant", "content": w.answer()}],
    }
    return Made(record, asked(question, answer))


@shape("preference, OpenAI's")
def _openai_preference(w: Writer) -> Made:
    question, answer = w.question(), w.answer()
    record = {
        "input": {"messages": [{"role": "user", "content": question}], "tools": []},
        "preferred_output": [{"role": "assistant", "content": answer}],
        "non_preferred_output": [{"role": "assistant", "content": w.answer()}],
    }
    return Made(record, asked(question, answer))


@shape("KTO")
def _kto(w: Writer) -> Made:
    question, answer = w.question(), w.answer()
    record = {"prompt": question, "completion": answer, "label": w.random.random() < 0.5}
    return Made(record, asked(question, answer))


@shape("nested as SQuAD", file="squad.json")
def _squad(w: Writer) -> Made:
    return _context(w)


@shape("translation pairs", model="seq2seq")
def _translation(w: Writer) -> Made:
    source, target = w.question(), w.question()
    return Made({"translation": {"en": source, "fr": target}}, sides=(source, target))


@shape("en/fr columns", model="seq2seq")
def _languages(w: Writer) -> Made:
    source, target = w.question(), w.question()
    return Made({"en": source, "fr": target}, sides=(source, target))


@shape("source/target of any length", model="seq2seq")
def _source(w: Writer) -> Made:
    source, target = w.long(), w.long()
    return Made({"source": source, "target": target}, sides=(source, target))


@shape("post/summary", model="seq2seq")
def _post(w: Writer) -> Made:
    post, summary = w.long(), w.question()
    return Made({"post": post, "summary": summary}, sides=(post, summary))


@shape("sentence_A/sentence_B with a label", model="encoder")
def _entailment(w: Writer) -> Made:
    first, second = w.question(), w.question()
    label = w.random.choice(["NEUTRAL", "ENTAILMENT"])
    return Made({"sentence_A": first, "sentence_B": second, "label": label}, texts=(first, second))


@shape("text with a label", model="encoder")
def _labelled(w: Writer) -> Made:
    text = w.long()
    return Made({"text": text, "label": w.random.randint(0, 3)}, texts=(text,))


@shape("plain text")
def _plain(w: Writer) -> Made:
    text = w.long()
    return Made({"id": w.random.randint(0, 9**9), "text": text}, texts=(text,))


@shape("input_ids")
def _ids(w: Writer) -> Made:
    ids = [w.random.randint(5, 500) for _ in range(w.random.randint(20, 200))]
    return Made({"input_ids": ids, "labels": ids}, tokens=len(ids))
