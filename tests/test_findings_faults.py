"""The diagnosis of a study: one line where nothing is wrong, and what is wrong by cause, with its seeds."""

import dataclasses

import numpy as np

from mlpjax import findings
from mlpjax.diagnosis import Fault
from mlpjax.findings.faults import FINDING


def test_where_nothing_is_wrong_a_line_says_so(subject, silent):
    learnt = {"train_accuracy": np.full((3, 4), 0.99), "test_accuracy": np.full((3, 4), 0.95)}
    trained = subject.random._replace(history=subject.random.history | learnt)
    well = dataclasses.replace(subject, groups={"random": trained})
    found = FINDING.find(well, silent)
    assert FINDING.summarise(found) == {}
    assert FINDING.show(found) == []
    assert FINDING.text(found) == "Nothing wrong was seen, in the data and in 3 networks."
    (opening,) = findings.sections(
        dict.fromkeys(f.name for f in findings.FINDINGS) | {"diagnosis": found}, opening=True
    )
    assert opening.text == FINDING.text(found)


def test_faults_are_told_with_their_seeds_causes_first(subject, silent):
    """One of three networks lost its way; the starts are drawn anew, those of the seeds."""
    loss = subject.random.history["train_loss"].copy()
    loss[1, 2:] = 1e6
    trained = subject.random._replace(history=subject.random.history | {"train_loss": loss})
    data = dataclasses.replace(subject.dataset, test=subject.dataset.train)
    found = FINDING.find(dataclasses.replace(subject, groups={"random": trained}, dataset=data), silent)
    assert [*found.seeds][:2] == [Fault.LEAK, Fault.RATE]
    assert [*found.seeds[Fault.LEAK]] == [3, 4, 5]
    assert [*found.seeds[Fault.RATE]] == [4]
    summary = FINDING.summarise(found)
    assert summary["learning rate too high"]["seeds"] == [4]
    assert summary["learning rate too high"]["seen"].endswith("to 1e+06")
    (table,) = FINDING.show(found)
    leak, rate = table.rows[:2]
    assert leak[:3] == ("test examples stand in training", "3 of 3", "40 of 40 test examples stand in training as well")
    assert rate[1] == "1 of 3"
    assert rate[2].startswith("seed 4: the training loss rose from")
    assert FINDING.text(found) == ""
