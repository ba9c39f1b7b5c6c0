"""The journal survives a crash in the middle of a line, and says which line is broken."""

import pytest

from nni_evanet.strategies.journal import Journal, JournalError

RECORD = {"architecture": {}, "fitness": 0.5, "parent": None, "mutations": []}


def test_results_come_back_in_order_with_their_time(tmp_path):
    journal = Journal(tmp_path / "evaluations.jsonl")
    assert journal.read() == []
    for fitness in (0.1, None, 0.3):
        journal.append(RECORD | {"fitness": fitness})
    records = journal.read()
    assert [r["fitness"] for r in records] == [0.1, None, 0.3]
    assert all(r["time"].endswith("+00:00") for r in records)


def test_a_torn_last_line_is_ignored_by_readers_and_removed_by_the_writer(tmp_path):
    path = tmp_path / "evaluations.jsonl"
    journal = Journal(path)
    journal.append(RECORD)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    assert len(journal.read()) == 1
    assert path.read_bytes() == whole + whole[:20]
    journal.repair()
    assert path.read_bytes() == whole
    journal.append(RECORD)
    assert len(journal.read()) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [("{", "2: not a JSON object"), ("[]", "2: not a JSON object"), ("{}", "2: no field arch")],
)
def test_a_broken_line_is_named(tmp_path, line, message):
    journal = Journal(tmp_path / "evaluations.jsonl")
    journal.append(RECORD)
    with journal.path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(JournalError, match=message):
        journal.read()
