"""The report: complete, self-contained, safe with what users wrote, and there at any moment."""

import json
import random
import sqlite3
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from nni_evanet.cli import OneLineErrors
from nni_evanet.commands.report import report
from nni_evanet.evaluation.results import Results, Row, write_results
from nni_evanet.strategies import Annealed, Evolution
from nni_evanet.strategies.journal import FILE_NAME, Journal

EVIL = "<script>alert('x')</script>&\""
PATHS = {"href", "src", "xlink:href", "action", "data", "srcset"}
VOID = {"meta", "br", "link", "img", "hr"}


class Page(HTMLParser):
    """What a browser would find: tags closed in order, texts, ids, addresses."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.addresses, self.texts, self._open = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.ids += [value for name, value in attributes if name == "id"]
        self.addresses += [value for name, value in attributes if name in PATHS]
        assert not [name for name, _ in attributes if name.startswith("on")]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def make_experiment(folder, evaluations, *, fails=lambda n: n % 10 == 3, name="A search"):
    """A search with a made-up fitness, its files as NNI and the tuner leave them."""
    folder.mkdir()
    evolution = Evolution("resnet", population_size=8, sample_size=4, schedule=Annealed(3, 6))
    journal, rng = Journal(folder / FILE_NAME), random.Random(0)
    journal.path.touch()
    events = []
    for number in range(evaluations):
        proposal = evolution.ask()
        repeats = sum(module.repeats for module in proposal.architecture.modules)
        fitness = None if fails(number) else 1 / repeats + rng.random() / 10
        metrics = {} if fitness is None else {"gmacs": repeats / 100, "params": 1000 * repeats}
        evaluation = evolution.tell(proposal, fitness, metrics)
        journal.append(evolution.dump(evaluation))
        parameters = {"parameters": proposal.architecture.to_sample()}
        status = "FAILED" if fitness is None else "SUCCEEDED"
        events += [(f"T{number}", "RUNNING", json.dumps(parameters)), (f"T{number}", status, None)]
    config = {
        "experimentName": name,
        "searchSpace": {"stem/conv/op": {"_type": "choice", "_value": ["conv3d"]}},
        "trialCommand": "exec nni-evanet trial --dataset moving-digits --data-path d --seed 5",
        "maxTrialNumber": 40,
        "tuner": {"classArgs": {"space": "resnet", "population_size": 8, "seed": 3}},
    }
    (folder / "db").mkdir()
    with sqlite3.connect(folder / "db/nni.sqlite") as database:
        database.execute("create table ExperimentProfile (params text, revision integer)")
        database.execute("insert into ExperimentProfile values (?, 0)", (json.dumps(config),))
        database.execute("create table TrialJobEvent (trialJobId text, event text, data text)")
        database.executemany("insert into TrialJobEvent values (?, ?, ?)", events)
    database.close()
    return folder


def write(folder, *arguments):
    out = folder.with_suffix(".html")
    result = CliRunner().invoke(report, [str(folder), "-o", str(out), *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return out.read_text(encoding="utf-8")


def make_results(path, name="EvaNet", members=("top 1",)):
    row = Row(
        name=name, kind="ensemble", group="evanet", members=members, modality="rgb",
        params=3_000_000, gmacs=1.25, metrics={"top1": 0.812}, ci95=(0.79, 0.834),
    )  # fmt: skip
    results = Results(
        dataset="hmdb51", subset="test", split=1, metric="top1", classes=51, videos=1530,
        views={"clips": 4, "crops": 3}, rows=(row,),
    )  # fmt: skip
    write_results(path, results)
    return path


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a search with everything."""
    folder = make_experiment(tmp_path_factory.mktemp("all") / "abc", 40)
    trial = folder / "environments/local-env/trials/T3"
    trial.mkdir(parents=True)
    (trial / "trial.stderr").write_text("Traceback\nDiverged: the loss is nan\n\n")
    (folder / "validation.json").write_text('{"training": ["a", "b"], "validation": ["c"]}')
    make_results(folder / "results.json")
    return write(folder)


def test_the_page_asks_for_nothing_outside_itself(page):
    parsed = Page(page)
    assert not {"script", "link", "iframe", "object", "img"} & set(parsed.tags)
    assert all(a.startswith(("#", "data:application/json;")) for a in parsed.addresses)
    assert "@import" not in page and "default-src 'none'" in page
    assert all(part.startswith("#") for part in page.split("url(")[1:])


def test_every_id_is_there_once_and_every_link_leads_to_one(page):
    parsed = Page(page)
    assert len(set(parsed.ids)) == len(parsed.ids)
    assert {a[1:] for a in parsed.addresses if a.startswith("#")} <= set(parsed.ids)


def test_the_page_tells_all_that_is_known(page):
    text = Page(page).text
    assert "A search" in text and "Finished" in text and "moving-digits" in text
    assert "4 of 40 trials ended without a finite fitness" in text
    assert "T3" in text and "Diverged: the loss is nan" in text
    assert "2 (training), 1 (validation)" in text
    assert "population_size: 8" in text and "--seed 5 --architecture abc_top1.json" in text
    assert page.count("<figure") == 6
    # The ensemble beside the paper's.
    assert "81.2" in text and "79.0–83.4" in text
    assert "Published in the paper, not measured here. Table 2" in text and "82.3" in text


def test_what_users_wrote_is_text(tmp_path):
    folder = make_experiment(tmp_path / "evil", 14, name=EVIL)
    trial = folder / "environments/local-env/trials/T3"
    trial.mkdir(parents=True)
    (trial / "trial.stderr").write_text(f"InputError: class {EVIL}\n")
    results = make_results(tmp_path / "results.json", name=EVIL, members=(EVIL, "$x$"))
    page = write(folder, "--results", results)
    parsed = Page(page)
    assert "script" not in parsed.tags and "<script" not in page
    assert parsed.text.count(EVIL) >= 4


@pytest.mark.parametrize(
    ("evaluations", "fails", "expected"),
    [
        (0, None, "No architecture has been evaluated with success yet"),
        (3, lambda n: True, "3 of 3 trials ended"),
        (1, lambda n: False, "No child has been evaluated yet"),
        (9, lambda n: False, "8 initial, 1 children"),
    ],
)
def test_a_search_at_its_start(tmp_path, evaluations, fails, expected):
    assert expected in Page(write(make_experiment(tmp_path / "a", evaluations, fails=fails))).text


def test_a_line_being_written_is_no_result_yet(tmp_path):
    folder = make_experiment(tmp_path / "a", 12)
    with (folder / FILE_NAME).open("a") as file:
        file.write('{"architecture": {"meta": "res')
    assert "11 architectures" in Page(write(folder)).text


def test_without_nnis_database_the_rest_is_told(tmp_path):
    folder = make_experiment(tmp_path / "a", 12)
    (folder / "db/nni.sqlite").write_bytes(b"no database")
    text = Page(write(folder)).text
    assert "The population's mean and diversity are not shown" in text
    assert "Not available: NNI's database" in text and "11 architectures" in text


def refused(*arguments):
    group = OneLineErrors()
    group.add_command(report)
    result = CliRunner().invoke(group, ["report", *map(str, arguments)])
    assert result.exit_code == 2 and result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def test_an_unknown_experiment_is_one_line(tmp_path):
    assert "experiment nowhere: not known" in refused("nowhere", "-o", tmp_path / "a.html")
    assert not list(tmp_path.iterdir())


def test_a_file_that_holds_no_results_is_one_line(tmp_path):
    folder = make_experiment(tmp_path / "a", 2)
    (tmp_path / "r.json").write_text("{}")
    message = refused(folder, "-o", tmp_path / "a.html", "--results", tmp_path / "r.json")
    assert "r.json: not a results file: format" in message
