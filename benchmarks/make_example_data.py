"""Writes profiles/examples/support_tickets.jsonl: support conversations composed from parts, the
same on every run.

The lengths are the point: most tickets are short, some carry a log or a long thread, as real ones
do. Usage: ``python benchmarks/make_example_data.py [FILE]``.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

RECORDS, SEED = 300, 7
OUTPUT = Path(__file__).resolve().parent.parent / "profiles" / "examples" / "support_tickets.jsonl"

PRODUCTS = [
    "the desktop client",
    "the mobile app",
    "the web console",
    "the backup agent",
    "the command-line tool",
    "a shared folder",
    "the photo importer",
    "the calendar add-on",
    "our team workspace",
    "the billing page",
]
SYSTEMS = [
    "Windows 11",
    "macOS 15",
    "Ubuntu 24.04",
    "an iPhone 14",
    "a Pixel 8",
    "Firefox 131",
    "Chrome on a work laptop",
    "a Synology NAS",
]
SINCE = [
    "since this morning",
    "since the last update",
    "for about a week",
    "after I changed my password",
    "ever since we moved offices",
    "every evening around nine",
    "since I added a second device",
    "only on hotel Wi-Fi",
]
PROBLEMS = [
    (
        "sync stops at {n} % and never finishes",
        "sync",
        "a file with a name that the server cannot store holds up the queue",
        "Open Settings, then Activity, and look for the entry marked in orange. Rename that "
        "file without the characters : * ? and press Retry",
    ),
    (
        "it asks me to sign in again every {n} minutes",
        "sign-in",
        "the clock of the device is off, so that the session token looks expired",
        "Turn on automatic time in the system settings, sign out everywhere from the web "
        "console, and sign in once more",
    ),
    (
        "I was charged {n} dollars twice",
        "billing",
        "the first payment was refused by the bank and retried, and both were settled",
        "I have marked the second payment for refund. Banks take three to five working days to "
        "show it",
    ),
    (
        "uploads are limited to {n} kB/s although our line is fast",
        "speed",
        "the bandwidth limit of the office profile is still active",
        "Go to Settings, then Network, and set the upload limit to Automatic. A restart of the "
        "client is not needed",
    ),
    (
        "{n} photos have the wrong date after the import",
        "import",
        "the camera wrote no time zone, and the importer took that of the server",
        "Select the photos, choose Shift dates, and give the difference in hours. The "
        "originals are kept for thirty days",
    ),
    (
        "a colleague cannot open a link I shared {n} days ago",
        "sharing",
        "links of your plan end after seven days unless that is changed",
        "Open the link's settings, choose No expiry or a later day, and send the same link "
        "again; its address does not change",
    ),
    (
        "the backup of last night is {n} GB smaller than the one before",
        "backup",
        "a folder was moved out of the set, or an exclusion now matches it",
        "Compare the two reports under Backups, then History. What is missing stands in the "
        "column Removed from set",
    ),
    (
        "the client uses {n} % of the processor when nothing happens",
        "performance",
        "the index of local files is damaged and is built again and again",
        "Quit the client, delete the file index.db in its data folder, and start it again. "
        "Building it takes some minutes once",
    ),
]
OPENINGS = ["Hi,", "Hello team,", "Good morning,", "Hey there!", "To whom it may concern,", ""]
MOODS = [
    "It is not urgent, but annoying.",
    "We have a deadline on Friday, so please hurry.",
    "I have already restarted everything twice.",
    "My manager keeps asking about it.",
    "Otherwise I am very happy with the service.",
    "I found two old threads about this, neither of which helped.",
    "I am not very technical, so please explain it slowly.",
    "This is the third time this year.",
    "",
]
ASKS = [
    "What can I do?",
    "Can you look into it?",
    "Is this a known problem?",
    "How do I get this fixed?",
    "Please advise.",
    "Could someone call me?",
]
THANKS = [
    "Thanks, that did it!",
    "Great, it works now.",
    "That helped, thank you.",
    "Hm, I do not see that option.",
    "It worked on one device but not on the other.",
    "I will try tonight and come back to you.",
]
FOLLOW_UPS = [
    "Good to hear. I leave the ticket open until tomorrow in case it comes back.",
    "Then your version is older than the option. Choose Help, then Check for updates, and look "
    "again after the restart.",
    "Please send me the report from Help, then Create report; it holds no contents of your "
    "files. With it I can see what differs between the two.",
    "No problem. If you write again, just answer this message, and it reaches me directly.",
]
LOG_LEVELS = ["INFO", "INFO", "INFO", "WARN", "DEBUG", "ERROR"]
LOG_TEXTS = [
    "queue length {n}",
    "retry {n} of 5 in 30 s",
    "chunk {n} stored",
    "checksum differs for block {n}",
    "connection closed by peer after {n} ms",
    "index rebuilt, {n} entries",
    "token refreshed, valid for {n} s",
    "skipping entry {n}: name not allowed",
]


def ticket(rng: random.Random, number: int) -> dict:
    """One conversation: a question, an answer, and for some a longer thread or a pasted log."""
    problem, topic, cause, remedy = rng.choice(PROBLEMS)
    product, system = rng.choice(PRODUCTS), rng.choice(SYSTEMS)
    question = sentences(
        rng.choice(OPENINGS),
        f"{rng.choice(SINCE)} I have trouble with {product} on {system}: "
        f"{problem.format(n=rng.randint(2, 97))}.",
        rng.choice(MOODS),
        rng.choice(ASKS),
    )
    if rng.random() < 0.18:
        question += "\n\nHere is what the log says:\n" + log(
            rng, int(rng.lognormvariate(2.3, 0.8)) + 3
        )
    answer = sentences(
        f"Thank you for writing about {product}.",
        f"Most likely {cause}.",
        f"{remedy}.",
        "If that changes nothing, tell me the version under Help, then About."
        if rng.random() < 0.5
        else "",
    )
    messages = [message("user", question), message("assistant", answer)]
    while rng.random() < 0.3:
        messages += [
            message("user", rng.choice(THANKS)),
            message("assistant", rng.choice(FOLLOW_UPS)),
        ]
    return {"id": f"T-{10000 + number}", "topic": topic, "messages": messages}


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def sentences(*parts: str) -> str:
    text = " ".join(part for part in parts if part)
    return text[0].upper() + text[1:]


def log(rng: random.Random, lines: int) -> str:
    second, rows = rng.randint(0, 80000), []
    for _ in range(lines):
        second += rng.randint(0, 40)
        clock = f"{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}"
        rows.append(
            f"{clock} {rng.choice(LOG_LEVELS):5} "
            f"{rng.choice(LOG_TEXTS).format(n=rng.randint(1, 9999))}"
        )
    return "\n".join(rows)


def main() -> None:
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else OUTPUT
    rng = random.Random(SEED)
    lines = [json.dumps(ticket(rng, number), ensure_ascii=False) for number in range(RECORDS)]
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
