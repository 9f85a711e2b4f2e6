"""Arguments as people type them: spellings that are the same option, and words that nothing knows."""

import pytest

from graphids.commands.arguments import ArgumentsRefused, OneLineParser, add_options, dotted_overrides
from graphids.commands.cli import main
from graphids.commands.parser import build_parser
from graphids.options import OPTIONS, OptionError


def test_dotted_words_become_overrides_of_the_configuration() -> None:
    assert dotted_overrides(["--model.heads", "8"], known=[]) == ["--model.heads=8"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--tua", "1"], "--tua: no such option; did you mean --tau?"),
        (["--modle.heads", "8"], "--modle.heads: no such option"),
        (["--model.heads"], "--model.heads: no value given; expected --model.heads=VALUE"),
        (["stray"], "stray: no such option"),
    ],
)
def test_a_word_that_nothing_knows_is_refused(extra: list[str], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        dotted_overrides(extra, known=[option.name for option in OPTIONS])

    assert message in str(caught.value)


def test_the_parser_prints_one_line_without_usage(capsys: pytest.CaptureFixture[str]) -> None:
    parser = OneLineParser(prog="graphids verify")
    parser.add_argument("model")

    with pytest.raises(SystemExit) as caught:
        parser.parse_args([])

    assert caught.value.code != 0
    assert capsys.readouterr().err.count("\n") == 1


def test_an_abbreviation_is_not_an_option() -> None:
    parser = OneLineParser()
    add_options(parser)

    _, extra = parser.parse_known_args(["--wind", "8"])

    assert extra == ["--wind", "8"]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_a_parameter_is_known_with_dashes_and_with_underscores(option: object) -> None:
    name = option.name  # type: ignore[attr-defined]

    for spelled in (name, name.replace("_", "-")):
        for words in ([f"--{spelled}=7"], [f"--{spelled}", "7"]):
            known, extra = build_parser().parse_known_args(["train", *words])
            assert (getattr(known, name), extra) == ("7", [])


def test_every_option_of_every_command_is_known_in_both_spellings() -> None:
    (commands,) = (action for action in build_parser()._actions if action.dest == "command")
    assert isinstance(commands.choices, dict)
    for name, command in commands.choices.items():
        for option in command.get_default("command_options"):
            for spelled in (option.replace("_", "-"), option.replace("-", "_")):
                with pytest.raises(SystemExit) as left:
                    build_parser().parse_args([name, f"--{spelled}", "--help"])
                assert not isinstance(left.value, ArgumentsRefused) or f"--{option}" in left.value.message


def test_a_key_of_the_configuration_may_be_spelled_with_dashes_and_its_value_is_kept() -> None:
    assert dotted_overrides(["--trainer.max-epochs", "a-b", "--data.gap-s=c-d"], known=[]) == [
        "--trainer.max_epochs=a-b",
        "--data.gap_s=c-d",
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["verify", "{}"],
        ["sign", "{}", "--key=k"],
        ["serve", "{}"],
        ["evaluate"],
        ["predict", "drive.log"],
        ["explain", "drive.log", "--window=1"],
        ["inspect", "drive.log"],
    ],
    ids=lambda words: words[0],
)
def test_a_model_is_named_in_the_same_words_for_every_command(words: list[str]) -> None:
    named = [word for word in words if word != "{}"]
    ways = [[*named, "--model", "m"], [*named, "--model=m"], [*named, "--model_uri=m"], [*named, "--model-uri", "m"]]
    if named != words:
        ways.append([word.format("m") for word in words])

    assert {build_parser().parse_args(way).model for way in ways} == {"m"}


@pytest.mark.parametrize("command", ["resume", "retau"])
def test_a_run_is_named_in_the_same_words_for_every_command(command: str) -> None:
    ways = [["r"], ["--run_id", "r"], ["--run-id=r"]]

    assert {build_parser().parse_args([command, *way]).run_id for way in ways} == {"r"}


def test_what_follows_two_dashes_is_taken_as_it_is() -> None:
    assert build_parser().parse_args(["verify", "--", "--model_uri"]).model == "--model_uri"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "graphids: trian: no such command; did you mean train? there are train, sweep, "),
        (["nonsense"], "graphids: nonsense: no such command; there are train, sweep, "),
        # That --model is missing only follows from it.
        (["predict", "drive.log", "--modle=m"], "graphids predict: --modle: no such option; did you mean --model? "),
        (["explain", "d", "--model=m", "--widnow", "1"], "--widnow: no such option; did you mean --window? "),
        (["convert", "a", "b", "--on_bad_lines=x", "c"], "--on_bad_lines: no such option"),
        (["tr\x1b[2Jain"], "graphids: tr\\x1b[2Jain: no such command"),
    ],
)
def test_a_misspelled_word_is_refused_with_the_nearest_in_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)

    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
