"""The diagnosis of a study: one line where nothing is wrong, and what is wrong by cause, with its seeds."""

import dataclasses

import jax
import numpy as np

from mlpjax import Dataset, Split, Variables, findings, map_seeds
from mlpjax.diagnosis import Fault, make_signs
from mlpjax.findings import faults
from mlpjax.findings.faults import FINDING


def test_where_nothing_is_wrong_a_line_says_so(subject, silent):
    learnt = {"train_accuracy": np.full((3, 4), 0.99), "test_accuracy": np.full((3, 4), 0.95)}
    trained = subject.random._replace(history=subject.random.history | learnt)
    well = dataclasses.replace(subject, random=trained)
    found = FINDING.find(well, silent)
    assert FINDING.summarise(found) == {}
    assert FINDING.show(found) == []
    assert FINDING.text(found) == "Nothing wrong was seen, in the data and in 3 networks."
    (opening,) = findings.sections(
        dict.fromkeys(f.name for f in findings.FINDINGS) | {"diagnosis": found}, opening=True
    )
    assert opening.text == FINDING.text(found)


def test_the_start_is_drawn_anew_from_each_seed(subject, silent, monkeypatch):
    """Its signs are those of the snapshots that training took at its start."""
    seen = []
    diagnosed = faults.diagnose
    monkeypatch.setattr(faults, "diagnose", lambda *args: seen.append(args) or diagnosed(*args))
    FINDING.find(dataclasses.replace(subject, dataset=leaking(subject.dataset)), silent)
    (_, _, before, end, _), (_, _, start, same, _) = seen
    assert before is end is same
    signs = make_signs(subject.model, subject.recipe, subject.task)
    few = Split(subject.train.x[:200], subject.train.y[:200])
    drawn = map_seeds(signs, Variables(jax.tree.map(lambda leaf: leaf[:, 0], subject.random.snapshots)), few)
    np.testing.assert_allclose(start.gain, drawn.gain, rtol=1e-5)
    assert (np.abs(start.gain - end.gain) > 1e-3).all()


def leaking(dataset: Dataset) -> Dataset:
    """Tested on what it was trained on."""
    return dataclasses.replace(dataset, test=dataset.train)


def test_faults_are_told_with_their_seeds_causes_first(subject, silent):
    """One of three networks lost its way, and all are tested on what they were trained on."""
    loss = subject.random.history["train_loss"].copy()
    loss[1, 2:] = 1e6
    trained = subject.random._replace(history=subject.random.history | {"train_loss": loss})
    data = leaking(subject.dataset)
    found = FINDING.find(dataclasses.replace(subject, random=trained, dataset=data), silent)
    assert [*found.seeds][:2] == [Fault.LEAK, Fault.RATE]
    assert [*found.seeds[Fault.LEAK]] == [3, 4, 5]
    assert [*found.seeds[Fault.RATE]] == [4]
    summary = FINDING.summarise(found)
    assert summary["learning rate too high"]["seeds"] == [4]
    assert summary["learning rate too high"]["seen"].endswith("to 1e+06")
    _, line, *_ = FINDING.lines(found)
    assert line.startswith("Diagnosis of 1 of 3 seeds: learning rate too high: the training loss rose from")
    assert line.endswith("to 1e+06. " + Fault.RATE.mend)
    (table,) = FINDING.show(found)
    leak, rate = table.rows[:2]
    assert leak[:3] == ("test examples stand in training", "3 of 3", "40 of 40 test examples stand in training as well")
    assert rate[1] == "1 of 3"
    assert rate[2].startswith("seed 4: the training loss rose from")
    assert FINDING.text(found) == ""
