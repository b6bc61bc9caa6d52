"""The API as a client asks it, with real workers behind it."""

import json
import re
import socket

import pytest

pytest.importorskip("fastapi")

from starlette.testclient import TestClient  # noqa: E402

from planner import Question, estimate  # noqa: E402
from planner.report.formats.registry import formats_of  # noqa: E402
from planner.serve import server  # noqa: E402
from planner.serve.api.app import create_app  # noqa: E402
from planner.serve.api.paths import LISTS, question_of  # noqa: E402
from planner.serve.asked import open_fields  # noqa: E402
from planner.serve.settings import Settings  # noqa: E402

GOOD = {
    "model": "gpt2",
    "samples": 1000,
    "tokens_per_sample": 100,
    "gpu": "t4",
    "strategy": ["lora", "fine_tune"],
}
HOME = "http://127.0.0.1:8765"


@pytest.fixture(scope="module")
def client():
    settings = Settings(workers=1, most_body=2000, most_upload=20_000)
    with TestClient(create_app(settings), base_url=HOME, raise_server_exceptions=False) as found:
        yield found


def test_an_answer_is_the_command_lines(client):
    for more in ({}, {"epochs": 4}, {"global_batch": 64, "price": 1.5}, {"max_usd": 0.001}):
        answer = client.post("/api/estimate", json={**GOOD, **more})
        assert answer.status_code == 200
        expected = estimate(Question(**GOOD, **more, offline=True))
        assert answer.json() == json.loads(json.dumps(expected))


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({**GOOD, "samples": -1}, 422, "samples"),
        ({**GOOD, "strategy": ["lorra"]}, 422, "strategy"),
        ({**GOOD, "data": "/etc/passwd"}, 422, "data"),
        ({**GOOD, "trust_remote_code": True}, 422, "trust_remote_code"),
        ({**GOOD, "model": "/etc"}, 422, "model"),
        ({}, 422, "model"),
        ({**GOOD, "gpu": "h10"}, 422, None),
        ({**GOOD, "sampels": 5}, 422, None),
    ],
)
def test_a_wrong_question_is_one_line_at_its_field(client, body, status, field):
    answer = client.post("/api/estimate", json=body)
    found = answer.json()
    assert answer.status_code == status
    assert set(found) == {"what", "where", "mend", "fields"}
    assert found["what"] and "\n" not in found["what"]
    assert found["fields"] == ([] if field is None else [field])


@pytest.mark.parametrize("body", [b"[", b"[]", b"7", b"", b"[" * 1500, b'{"a":1e999}', b"\xff\xfe"])
def test_what_is_no_question_is_refused_in_words(client, body):
    answer = client.post(
        "/api/estimate", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code in (400, 422)
    assert answer.json()["what"]


FOREIGN = [
    "evil.com",
    "evil.com:8765",
    "127.0.0.1.evil.com",
    "",
    "[::2]",
    "localhost:8765@evil",
    "localhost@evil",
    "localhost:",
    "localhost:x",
    "localhost:99999",
    "localhost:1:2",
    "localhost/evil",
    "localhost evil",
    "[::1]evil",
    "[::1",
    ":8765",
]


@pytest.mark.parametrize("host", FOREIGN)
def test_a_foreign_host_is_refused(client, host):
    for path in ("/", "/api/names", "/assets/main.js"):
        assert client.get(path, headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8765", "LOCALHOST", "[::1]:8765"])
def test_the_loopback_has_several_names(client, host):
    assert client.get("/api/names", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.com"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "file://"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_another_page_is_refused(client, headers):
    assert client.post("/api/estimate", json=GOOD, headers=headers).status_code == 403
    assert client.get("/api/report.json?model=gpt2", headers=headers).status_code == 403


def test_its_own_page_is_not(client):
    own = {"origin": HOME, "sec-fetch-site": "same-origin"}
    assert client.post("/api/estimate", json=GOOD, headers=own).status_code == 200


def test_bodies_are_bounded_whatever_they_say_of_themselves(client):
    large = json.dumps({**GOOD, "region": "x" * 5000}).encode()
    assert client.post("/api/estimate", content=large).status_code == 413

    def pieces():
        for _ in range(50):
            yield b" " * 1000

    assert client.post("/api/estimate", content=pieces()).status_code == 413
    assert client.post("/api/data?name=a.jsonl", content=b"x" * 30_000).status_code == 413


def test_a_file_is_counted_and_not_kept(client, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    lines = "".join(json.dumps({"text": "some words of a text " * n}) + "\n" for n in range(1, 40))
    answer = client.post("/api/data?name=../../etc/chats.jsonl&model=gpt2", content=lines)
    assert answer.status_code == 200, answer.text
    fields = answer.json()["fields"]
    assert fields["samples"] == 39
    assert fields["tokens_per_sample"] > 20 and fields["length_spread"] > 0
    assert not list(tmp_path.iterdir())
    assert str(tmp_path) not in answer.text
    asked = client.post("/api/estimate", json={**GOOD, **fields})
    assert asked.status_code == 200


@pytest.mark.parametrize(
    "name", ["a.jsonl", "x.exe", "a", "b.csv", "c.zip", "d.parquet", "", "é.\n"]
)
def test_what_cannot_be_counted_is_said(client, name):
    answer = client.post("/api/data", params={"name": name}, content=b"\x00\x01garbage")
    assert answer.status_code in (200, 422)
    assert "/tmp" not in answer.text and "Traceback" not in answer.text


@pytest.mark.parametrize("suffix", sorted(formats_of("answer")))
def test_every_report_can_be_downloaded(client, suffix):
    query = {**GOOD, "strategy": "lora,fine_tune"}
    answer = client.get(f"/api/report{suffix}", params=query)
    assert answer.status_code == 200, answer.text[:300]
    assert answer.headers["content-disposition"] == f'attachment; filename="budget{suffix}"'
    assert len(answer.content) > 500
    if suffix == ".json":
        assert [option["strategy"] for option in answer.json()["options"]] == GOOD["strategy"]


def test_what_to_rent_is_the_command_lines(client):
    from planner.choose.decision import decide

    asked = {**GOOD, "strategy": ["lora"]}
    answer = client.post("/api/choose", json=asked)
    expected = json.loads(json.dumps(decide(Question(**asked, offline=True))))
    assert answer.json() == expected


def test_a_report_that_is_none(client):
    assert client.get("/api/report.exe", params=GOOD).json()["what"].startswith("no format")
    assert client.get("/api/report.md?model=/etc/passwd").status_code == 422


def test_only_the_pages_own_files_are_served(client):
    assert client.get("/").headers["content-type"].startswith("text/html")
    assert "--accent" in client.get("/assets/look.css").text
    for name in ("..%2f..%2fsettings.py", "%2e%2e/app.py", "nothing.js", "/etc/passwd"):
        assert client.get(f"/assets/{name}").status_code in (404, 403)


def test_the_policy_of_every_answer_is_strict(client):
    for path in ("/", "/api/names", "/api/openapi.json", "/nothing"):
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "http" not in client.get("/").text.replace("http-equiv", "")


def test_the_api_is_described_from_the_question(client):
    found = client.get("/api/openapi.json").json()
    body = found["paths"]["/api/estimate"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"]["properties"]["epochs"]["description"] == (
        Question.model_fields["epochs"].description
    )
    assert client.get("/docs").status_code == 404  # FastAPI's own loads scripts from elsewhere


def test_names_are_offered(client):
    found = client.get("/api/names").json()
    assert "lora" in found["strategies"] and ".md" in found["reports"]
    assert any(model["name"] == "gpt2" and model["quick"] for model in found["models"])
    assert any(gpu["key"] == "t4" for gpu in found["gpus"])


def test_a_job_that_nobody_began(client):
    assert client.get("/api/jobs/abc").status_code == 404


@pytest.mark.slow
def test_a_rank_that_does_not_ship_is_recorded_with_progress(client, tmp_path, monkeypatch):
    import time

    fields = {**GOOD, "strategy": ["lora"], "lora_rank": 7}
    answer = client.post("/api/estimate?wait=false", json=fields)
    if answer.status_code == 202:
        job = answer.json()["job"]
        again = client.post("/api/estimate?wait=false", json=fields).json()["job"]
        assert again == job
        until = time.monotonic() + 300
        while answer.status_code == 202 and time.monotonic() < until:
            time.sleep(0.5)
            answer = client.get(f"/api/jobs/{job}")
    assert answer.status_code == 200
    assert answer.json()["options"][0]["training"]["lora"]["rank"] == 7


def test_an_address_may_hold_several_of_a_list():
    asked = [("strategy", "lora"), ("strategy", "fine_tune,qlora"), ("samples", "5")]
    asked += [
        ("lora_targets", "c_attn"),
        ("lora_targets", "c_proj"),
        ("lora_exclude", r"h\.\d{1,2}"),
    ]
    assert question_of(asked) == {
        "strategy": ["lora", "fine_tune", "qlora"],
        "samples": "5",
        "lora_targets": ["c_attn", "c_proj"],
        "lora_exclude": r"h\.\d{1,2}",
    }


def test_the_pages_links_know_every_list_and_every_switch(client):
    script = client.get("/assets/link.js").text

    def named(constant):
        return set(re.findall(r"'(\w+)'", script.split(f"{constant} = new Set([")[1].split("]")[0]))

    kinds = {name: str(Question.model_fields[name].annotation) for name in open_fields()}
    lists = {name for name, kind in kinds.items() if "list[" in kind}
    assert named("LISTS") | named("REPEATED") == lists == {*LISTS, "strategy"}
    assert named("SWITCHES") == {name for name, kind in kinds.items() if "bool" in kind}


def test_an_answer_is_sent_at_once():
    """asyncio turns Nagle's algorithm off on what is named as TCP alone; else a kept connection
    waits 40 ms for every body."""
    with server._bound("127.0.0.1", 0) as bound:
        assert bound.proto == socket.IPPROTO_TCP
