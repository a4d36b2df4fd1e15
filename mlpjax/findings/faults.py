"""What is wrong with the data and the trainings, by name, with the mend."""

from typing import Any, NamedTuple

from jaxtyping import Array, Key

from mlpjax.data import Split
from mlpjax.data.check import check
from mlpjax.diagnosis import Diagnosis, Fault, Signs, chance_of, check_before, diagnose, make_signs
from mlpjax.findings.finding import Finding
from mlpjax.findings.subject import Subject
from mlpjax.lift import OnProgress, silent
from mlpjax.report.page import Picture, Table
from mlpjax.report.words import counted
from mlpjax.seeds import make_members

EXAMPLES = 200
"""Training examples on which networks are examined."""


class Faults(NamedTuple):
    """What is wrong, causes before symptoms."""

    seeds: dict[Fault, dict[int, Diagnosis]]
    """Under each fault, the networks that have it, by seed."""
    networks: int
    """How many were examined."""


def find(subject: Subject, on_progress: OnProgress = silent) -> Faults:
    """Diagnose every network with a random start; what diverged is diagnosed, too."""
    task, trained = subject.task, subject.random
    signs = make_signs(subject.model, subject.recipe, task)
    few = Split(*(leaf[:EXAMPLES] for leaf in subject.train))
    before, chance = check_before(subject.dataset, check(subject.dataset), task), chance_of(subject.dataset)
    end = subject.look("diagnosis", signs, trained.variables, few, chunk=4, on_progress=on_progress)
    found = diagnose(before, trained, end, end, chance)
    if any(found):
        # What was so from the start says why. Where all is well nobody asks: to draw the networks anew takes seconds.
        def signs_at_start(key: Key[Array, ""], split: Split) -> Signs:
            return signs(task.init(key, split.x), split)

        keys = make_members(trained.seeds.tolist(), freeze=subject.freeze).keys.init
        start = subject.look("diagnosis-start", signs_at_start, keys, few, chunk=4, on_progress=on_progress)
        found = diagnose(before, trained, start, end, chance)
    seeds: dict[Fault, dict[int, Diagnosis]] = {}
    for seed, diagnoses in zip(trained.seeds.tolist(), found, strict=True):
        for diagnosis in diagnoses:
            seeds.setdefault(diagnosis.fault, {})[seed] = diagnosis
    return Faults({fault: seeds[fault] for fault in Fault if fault in seeds}, len(trained.seeds))


def summarise(found: Faults) -> dict[str, Any]:
    """Every fault with the seeds that have it, what was seen in the first of them, and the mend."""
    return {
        fault.title: {"seeds": [*seeds], "seen": next(iter(seeds.values())).seen, "mend": fault.mend}
        for fault, seeds in found.seeds.items()
    }


def text(found: Faults) -> str:
    """One line where nothing is wrong."""
    return "" if found.seeds else f"Nothing wrong was seen, in the data and in {counted(found.networks, 'network')}."


def lines(found: Faults) -> list[str]:
    """A line for every fault."""
    return [
        f"Diagnosis of {len(seeds)} of {counted(found.networks, 'seed')}: {fault.title}: "
        f"{next(iter(seeds.values())).seen}. {fault.mend}"
        for fault, seeds in found.seeds.items()
    ]


def show(found: Faults) -> list[Table | Picture]:
    """A row for every fault; nothing where there is none."""
    if not found.seeds:
        return []
    rows = []
    for fault, seeds in found.seeds.items():
        first, diagnosis = next(iter(seeds.items()))
        of_all = len(seeds) == found.networks and len({one.seen for one in seeds.values()}) == 1
        seen = diagnosis.seen if of_all else f"seed {first}: {diagnosis.seen}"
        rows.append((fault.title, f"{len(seeds):,} of {found.networks:,}", seen, fault.mend))
    note = "Causes stand before symptoms: mend the first, and what stands below it may be gone."
    return [Table("What is wrong", ("", "networks", "what was seen", "what to do"), rows, note)]


FINDING = Finding(
    name="diagnosis",
    title="Diagnosis",
    unit="networks",
    section="Diagnosis",
    order=0,
    find=find,
    summarise=summarise,
    show=show,
    text=text,
    lines=lines,
    applies=lambda subject: True,
    opens=True,
)
