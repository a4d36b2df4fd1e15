import os
import re
import subprocess
import sys

import pytest

import mlpjax
from mlpjax import commands
from mlpjax.cli import COMMANDS, main

SMALL = ["study", "--data", "xor", "--widths", "2", "8", "2", "--batch-size", "50", "--epochs", "2", "--seeds", "2"]


def run(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return stop.value.code, capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "mnist6k"], "mnist6k"),
        (["--data", "idx:nowhere"], "nowhere"),
        (["--widths", "2", "0", "2"], "widths 2-0-2: every width must be at least 1"),
        (["--widths", "784", "10"], "xor has 2 features, so the first width must be 2"),
        (["--batch-size", "751"], "batch_size 751: larger than the training split, 750 examples"),
        (["--dropout", "1.5"], "dropout 1.5"),
        (["--learning-rate", "-1"], "learning_rate -1.0: must be above 0"),
        (["--epochs", "5", "--eval-every", "2"], "eval_every 2: must divide epochs, 5"),
        (["--seeds", "0"], "seeds 0: must be at least 1"),
        (["--grid", "1"], "grid 1: must be at least 3"),
    ],
)
def test_bad_values_are_one_line_and_exit_code_2(arguments, said, capsys, tmp_path):
    code, printed = run([*SMALL, "--out", str(tmp_path / "run"), *arguments], capsys)
    assert code == 2
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert said in printed.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--activation", "rellu"], "rellu"),
        (["--optimizer", "adamm"], "adamm"),
        (["--learning-rte", "1"], "--learning-rte"),
        (["--epochs", "three"], "three"),
    ],
)
def test_what_does_not_parse_is_refused_by_name(arguments, said, capsys):
    code, printed = run([*SMALL, *arguments], capsys)
    assert code == 2
    assert said in printed.err


@pytest.mark.parametrize("arguments", [["--lr", "0.1"], ["--lr=0.1"]])
def test_what_others_call_an_option_is_told_its_name_here(arguments, capsys):
    code, printed = run([*SMALL, *arguments], capsys)
    assert code == 2
    assert printed.err == "error: --lr: there is no such option; did you mean --learning-rate?\n"


def test_help_shows_every_setting_with_its_default(capsys):
    code, printed = run(["study", "--help"], capsys)
    assert code == 0
    for setting in ("--widths", "--learning-rate FLOAT", "default: 784 256 128 10", "--out", "one-cycle", "--freeze"):
        assert setting in printed.out
    assert "fixed to" not in printed.out  # a type that the command line could not read
    options = set(re.findall(r"--[a-z0-9-]+", printed.out))
    assert set(commands.ELSEWHERE.values()) <= options
    assert not options & set(commands.ELSEWHERE)


def test_help_of_a_vgg_shows_its_settings_and_not_those_of_an_mlp(capsys):
    code, printed = run(["study", "vgg", "--help"], capsys)
    assert code == 0
    for setting in ("--depth", "--width FLOAT", "--batch-norm", "--learning-rate", "--image-size", "--out"):
        assert setting in printed.out
    assert "--widths" not in printed.out
    assert "fixed to" not in printed.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["vgg", "--depth", "12"], "unknown depth '12'"),
        (["vgg"], "a VGG takes images, and examples of this data have 2 features"),
        (["mlp", "--widths", "3", "2"], "xor has 2 features, so the first width must be 2"),
    ],
)
def test_the_first_word_names_the_model(arguments, said, capsys, tmp_path):
    code, printed = run(["study", *arguments, "--data", "xor", "--out", str(tmp_path / "run")], capsys)
    assert code == 2
    assert printed.err.startswith("error: ")
    assert said in printed.err


def test_version_and_activations(capsys, tmp_path):
    code, printed = run(["--version"], capsys)
    assert code == 0
    assert printed.out.startswith("mlpjax ")
    main(["activations", "--out", str(tmp_path / "table.png")])
    assert (tmp_path / "table.png").read_bytes().startswith(b"\x89PNG")
    main(["activations", "--out", str(tmp_path / "table.svg")])
    assert "<svg" in (tmp_path / "table.svg").read_text()
    (tmp_path / "folder.pdf").mkdir()
    for place, said in (
        ("no/table.png", "make it first"),
        ("folder.pdf", "cannot be written"),
        ("table.gif", "ends in .png, .svg or .pdf"),
    ):
        code, printed = run(["activations", "--out", str(tmp_path / place)], capsys)
        assert code == 2
        assert said in printed.err
        assert printed.err.count("\n") == 1


def test_help_teaches_the_commands(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, printed = run(["--help"], capsys)
    assert code == 0
    assert mlpjax.__doc__ in printed.out
    for name, line in COMMANDS.items():
        assert line in printed.out
        assert getattr(commands, name).__doc__.splitlines()[0] == line


def test_an_unknown_command_is_refused_with_those_that_there_are(capsys):
    code, printed = run(["studdy", "--seeds", "3"], capsys)
    assert code == 2
    assert "invalid choice: 'studdy' (choose from" in printed.err
    assert run([], capsys)[0] == 2


MLPJAX = "from mlpjax.cli import main; main()"


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_import_nothing_that_takes_long(argument):
    command = [sys.executable, "-X", "importtime", "-c", MLPJAX, argument]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
    assert {"mlpjax", "mlpjax.cli"} <= imported
    assert not imported & {"jax", "numpy", "tyro", "rich", "mlpjax.public", "mlpjax.commands"}
    assert "mlpjax" in ran.stdout


INTERRUPTED = """
import os, signal, sys

class Destroyed:  # where Python prints any error, and goes on
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

class CtrlC:  # as soon as the module is asked for
    def find_spec(self, name, *_):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT) if sys.argv[2] == "plainly" else Destroyed()

signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run in the background, Ctrl-C is ignored
sys.meta_path.insert(0, CtrlC())
from mlpjax.cli import main
main(["study", "--seeds", "0"])
"""


@pytest.mark.parametrize("where", ["plainly", "in a destructor"])
@pytest.mark.parametrize("module", ["mlpjax.commands", "jax", "mlpjax.study"])
def test_an_early_interrupt_is_exit_code_130_and_silent(module, where):
    ran = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, module, where], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


@pytest.mark.parametrize("arguments", [["--help"], ["study", "--help"]])
def test_a_reader_that_goes_away_is_no_traceback(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", MLPJAX, *arguments]
    ran = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert ran.returncode < 2
    assert ran.stderr == ""
