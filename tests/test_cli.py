import os
import signal
import subprocess
import sys
import time

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


def test_help_shows_every_setting_with_its_default(capsys):
    code, printed = run(["study", "--help"], capsys)
    assert code == 0
    for setting in ("--widths", "--learning-rate FLOAT", "default: 784 256 128 10", "--out", "one-cycle", "--freeze"):
        assert setting in printed.out
    assert "fixed to" not in printed.out  # a type that the command line could not read


def test_version_and_activations(capsys, tmp_path):
    main(["--version"])
    assert capsys.readouterr().out.startswith("mlpjax ")
    main(["activations", "--out", str(tmp_path / "table.png")])
    assert (tmp_path / "table.png").read_bytes().startswith(b"\x89PNG")
    code, printed = run(["activations", "--out", str(tmp_path / "no" / "table.png")], capsys)
    assert code == 2
    assert "make it first" in printed.err


def test_help_teaches_the_commands(capsys):
    main(["--help"])
    printed = capsys.readouterr().out
    assert mlpjax.__doc__ in printed
    for name, line in COMMANDS.items():
        assert f"{name} " in printed
        assert line in printed
        assert getattr(commands, name).__doc__.splitlines()[0] == line


@pytest.mark.parametrize("argument", ["--help", "-h", "--version"])
def test_help_and_version_import_nothing_that_takes_long(argument):
    command = [sys.executable, "-X", "importtime", "-m", "mlpjax", argument]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
    assert "mlpjax.cli" in imported
    assert not imported & {"jax", "numpy", "tyro", "rich", "mlpjax.public", "mlpjax.commands"}
    assert "mlpjax" in ran.stdout


def test_every_public_name_is_there_when_it_is_wanted():
    for name in mlpjax.__all__:
        assert name in dir(mlpjax)
        assert getattr(mlpjax, name) is getattr(mlpjax.public, name)
    everything = {}
    exec("from mlpjax import *", everything)
    assert set(mlpjax.__all__) <= everything.keys()
    assert mlpjax.landscape.minima.Kind
    with pytest.raises(AttributeError, match="module 'mlpjax' has no attribute 'train_money'"):
        mlpjax.train_money  # noqa: B018


SHELL = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run in the background, Ctrl-C is ignored
print("ready", flush=True)
from mlpjax.cli import main
main()
"""


@pytest.mark.parametrize("seconds", [0.02, 0.1, 0.3, 0.6, 1.0])
def test_an_early_interrupt_is_exit_code_130_and_silent(seconds):
    command = [sys.executable, "-c", SHELL, "study", "--seeds", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        printed = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed == ("", "")


@pytest.mark.parametrize("arguments", [["--help"], ["study", "--help"]])
def test_a_reader_that_goes_away_is_no_traceback(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "mlpjax", *arguments]
    ran = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (1, "")
