"""The configuration of a run: rendered from parameters, or read from a file."""

from pathlib import Path

import pytest

from graphids.commands.config import read_config, render_config, root_dir_of
from graphids.options import DEFAULT_ROOT_DIR, OPTIONS, OptionError

DEFAULTS = {option.name: option.default for option in OPTIONS}


def test_runs_lie_in_the_default_folder_unless_an_override_names_another() -> None:
    config = render_config(DEFAULTS)

    assert root_dir_of(config, []) == DEFAULT_ROOT_DIR
    assert root_dir_of(config, ["--trainer.default_root_dir=a", "--trainer.default_root_dir=b"]) == "b"


def test_what_jsonnet_refuses_is_one_line() -> None:
    with pytest.raises(OptionError, match="jsonnet says") as caught:
        render_config({**DEFAULTS, "lr": float("inf")})

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["{", "[]", "[" * 100_000, '{"trainer": {}, "model": {}, "data": {}}', '{"model": {"size": "small"}}']
)
def test_json_that_is_not_the_configuration_of_a_run_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)

    with pytest.raises(OptionError, match=r"expected the config\.json of a run"):
        read_config(path)
