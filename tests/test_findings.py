"""Findings are found by themselves, told in order, and looked at once."""

import pkgutil
import sys

import pytest

from mlpjax import findings, lift
from mlpjax.findings import FINDINGS
from mlpjax.report.page import Section, Table


def test_every_module_with_a_finding_is_listed_in_order():
    names = ["diagnosis", "surface", "trajectory", "curvature", "barriers", "endings", "regions", "mistakes"]
    names.append("distinct_units")
    assert [finding.name for finding in FINDINGS] == names
    modules = {module.name for module in pkgutil.iter_modules(findings.__path__)} - {"finding", "subject"}
    assert len(modules) == len(FINDINGS)


def test_what_was_found_is_told_by_section(subject):
    class Bar:
        def __init__(self, title, unit):
            told.append((title, unit))

        def __enter__(self):
            return lambda done, total: None

        def __exit__(self, *_):
            pass

    told = []
    few = [finding for finding in FINDINGS if finding.name in ("barriers", "mistakes", "distinct_units")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(findings, "FINDINGS", few)
        found = findings.find(subject, Bar)
        assert told[0] == ("Linear mode connectivity", "pairs")
        assert findings.summarise(found).keys() == {"barriers", "mistakes", "distinct_units"}
        sections = findings.sections(found, opening=False)
        assert [section.title for section in sections] == ["Loss landscape", "Misclassified examples", "All-zero start"]
        assert all(isinstance(section, Section) for section in sections)
        nothing = findings.sections(dict.fromkeys(found), opening=False)
        assert nothing == []
        assert findings.summarise(dict.fromkeys(found)) == dict.fromkeys(found)
        assert findings.tiles(dict.fromkeys(found)) == []


SLOW = ("endings", "trajectory")
"""What takes longest to look at; test_study.py looks at all of them twice."""


@pytest.mark.parametrize(
    "finding",
    [
        pytest.param(finding, id=finding.name, marks=[pytest.mark.slow] if finding.name in SLOW else [])
        for finding in FINDINGS
    ],
)
def test_what_was_looked_at_is_not_looked_at_again(subject, silent, finding, monkeypatch):
    """What a killed study has found it does not look for again: all comes from the folder."""
    before = finding.summarise(finding.find(subject, silent))

    def computed(*_):
        raise AssertionError(f"{finding.name} was computed again")

    monkeypatch.setattr(lift, "_run_parts", computed)
    assert finding.summarise(finding.find(subject, silent)) == before
    tables = [item for item in finding.show(finding.find(subject, silent)) if isinstance(item, Table)]
    assert all(len(row) == len(table.header or row) for table in tables for row in table.rows)


def test_a_new_module_is_a_new_finding(tmp_path):
    """One file with a FINDING is all that it takes."""
    (tmp_path / "depth.py").write_text(
        "from mlpjax.findings.finding import Finding\n"
        "FINDING = Finding('depth', 'Depth', 'networks', 'Landscape', 15, lambda s, p: s.model.hidden_layers,\n"
        "                  lambda found: {'layers': found}, lambda found: [])\n"
    )
    package = sys.modules["mlpjax.findings"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        listed = [finding.name for finding in findings.discover()]
    sys.modules.pop("mlpjax.findings.depth")
    assert listed[1:4] == ["surface", "depth", "trajectory"]
