"""Do the tests notice when the library is broken? Changes one operator, number or decision at a time, and runs them.

A mutant is one small change of the library (`+` for `-`, `<` for `<=`, a number one higher or lower, a condition turned
round). Cosmic Ray makes all of each module; of those, a sample drawn by a fixed generator is tried in a copy of the
checkout, each against the tests of its own module. A mutant that no test notices survives.

Command: make mutants    (or python tests/mutants.py --only stats --each 40)
Wall time on two cores: about a minute for two mutants; a run that was stopped goes on where it was.
"""

import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import tyro
from cosmic_ray.work_db import use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

ROOT = Path(__file__).parent.parent
TESTS = {
    "stats": "test_stats.py",
    "losses": "test_losses.py",
    "claims/verdict": "test_claims_verdict.py",
    "claims/values": "test_claims_runner.py",
    "claims/ledger": "test_claims_ledger.py",
    **{
        f"landscape/{name}": f"test_landscape_{name}.py"
        for name in (
            "catalogue",
            "convexity",
            "curvature",
            "directions",
            "linear_algebra",
            "loss",
            "loss_surface",
            "matching",
            "minima",
            "mode_connectivity",
            "permutations",
            "signals",
            "symmetries",
            "symmetry_breaking",
            "trajectory",
        )
    },
}
"""The tests that must notice, by module."""
KINDS = re.compile(
    r"core/(ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|Pow_Mul|FloorDiv_Mul|Mod_Mul)"
    r"|ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Lt_LtE|LtE_Lt|Gt_GtE|GtE_Gt|Lt_Gt|Gt_Lt|LtE_GtE|GtE_LtE)"
    r"|ReplaceUnaryOperator_(USub_UAdd|Delete_Not)|ReplaceAndWithOr|ReplaceOrWithAnd|AddNot"
    r"|ReplaceTrueWithFalse|ReplaceFalseWithTrue|NumberReplacer|ZeroIterationForLoop)"
)
"""Of Cosmic Ray's operators, those that a slip of the pen could make: not `>>` in place of `+`."""


@dataclass(frozen=True)
class Options:
    """The command line."""

    each: int = 16
    """Mutants of each module."""
    only: str = ""
    """Of modules whose name holds this."""
    work: Path = ROOT / ".mutants"
    """Folder of the copy, and of what was tried so far; remove it to begin anew."""


def copy_checkout(copy: Path) -> None:
    """Copy the files that git knows: the mutants are made in the copy."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)


def try_module(copy: Path, module: str, each: int) -> tuple[Counter[str], list[str]]:
    """Make the module's mutants and try a sample: how many were killed and survived, and the survivors' changes."""
    name = module.replace("/", "_")
    config, session = copy.parent / f"{name}.toml", copy.parent / f"{name}.sqlite"
    # The copy comes first on the path of the tests' Python, before an installed mlpjax.
    command = f"{sys.executable} -m pytest -x -q -p no:cacheprovider -n 0 tests/{TESTS[module]}"

    def cosmic_ray(*arguments: str) -> None:
        subprocess.run([Path(sys.executable).parent / "cosmic-ray", *arguments], cwd=copy, check=True)

    if not session.exists():
        began = time.monotonic()
        subprocess.run(command.split(), cwd=copy, check=True)  # without a change all tests pass
        # A mutant that takes much longer hangs, and is killed.
        timeout = 60 + 5 * (time.monotonic() - began)
        config.write_text(
            f'[cosmic-ray]\nmodule-path = "mlpjax/{module}.py"\ntimeout = {timeout}\nexcluded-modules = []\n'
            f'test-command = "{command}"\n[cosmic-ray.distributor]\nname = "local"\n'
        )
        cosmic_ray("init", str(config), str(session))
        with use_db(session) as found:
            made = [(item.mutations[0], item.job_id) for item in found.work_items]
            likely = [
                (change.start_pos, change.operator_name, change.occurrence, job)
                for change, job in made
                if KINDS.fullmatch(change.operator_name)
            ]
            # Jobs have random names: the order must not depend on them.
            drawn = random.Random(0).sample(sorted(likely, key=itemgetter(0, 1, 2)), min(each, len(likely)))
            for job in {job for _, job in made} - {job for *_, job in drawn}:
                found.set_result(job, WorkResult(worker_outcome=WorkerOutcome.SKIPPED))
    cosmic_ray("exec", str(config), str(session))
    outcomes: Counter[str] = Counter()
    survivors = []
    with use_db(session) as found:
        for _, result in found.results:
            if result.worker_outcome != WorkerOutcome.SKIPPED:
                survived = result.test_outcome == TestOutcome.SURVIVED
                outcomes["survived" if survived else "killed"] += 1
                survivors += [result.diff] * survived
    return outcomes, survivors


def main(options: Options) -> None:
    """Try the mutants of every module, and print the score and the survivors."""
    total: Counter[str] = Counter()
    lines = ["| module | mutants | killed |", "| --- | ---: | ---: |"]
    copy_checkout(options.work / "checkout")
    for module in TESTS:
        if options.only in module:
            outcomes, survivors = try_module(options.work / "checkout", module, options.each)
            total += outcomes
            lines.append(f"| {module} | {outcomes.total()} | {outcomes['killed']} |")
            print(f"{module}: {outcomes['killed']} of {outcomes.total()} killed", *survivors, sep="\n\n", flush=True)
    lines.append(f"| all | {total.total()} | {total['killed']}: {100 * total['killed'] / total.total():.0f} % |")
    print(*lines, sep="\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__, config=(tyro.conf.FlagCreatePairsOff,)))
