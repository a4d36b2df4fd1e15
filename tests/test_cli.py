import pytest

from mlpjax.cli import main

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
