"""A model names the graphids that wrote it, and one that this graphids cannot load says what to install."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from graphids import __version__
from graphids._fs import digest_file
from graphids.commands import cli
from mlflow_graphids import IncompatibleModelError, IntegrityError, load_model, verification_report
from mlflow_graphids.verification.manifest import wheel_file
from support.tampering import WHEEL, edit_mlmodel, reseal, write_manifest

Saved = tuple[Path, str]
NEWER = "99.1.0"
ADVICE = (
    rf"It was written by graphids {NEWER}, but {__version__} is installed\. "
    rf"Install graphids {NEWER} from its repository \(tag v{NEWER}\), or log the model again from its run\."
)


def rewrite(folder: Path, edit: Callable[[dict[str, Any]], object], **manifest: Any) -> str:
    """Edit model.json, set keys of the manifest, and let every digest agree; return the root digest."""
    description = json.loads((folder / "model.json").read_text())
    edit(description)
    (folder / "model.json").write_text(json.dumps(description))
    content = {**json.loads((folder / "manifest.json").read_text()), **manifest}
    version = content["graphids_version"]
    if version == NEWER:  # which would have put its own wheel into the model
        next(entry for entry in content["files"] if entry["path"] == WHEEL)["path"] = wheel_file(NEWER)
        (folder / WHEEL).rename(folder / wheel_file(NEWER))
    write_manifest(folder, json.dumps(content).encode())
    reseal(folder)
    edit_mlmodel(folder, lambda mlmodel: mlmodel["flavors"]["graphids"].update(graphids_version=version))
    return digest_file(folder / "manifest.json")


def test_the_manifest_and_mlmodel_name_the_version_that_wrote_the_model(saved: Saved) -> None:
    manifest = json.loads((saved[0] / "manifest.json").read_text())
    mlmodel = yaml.safe_load((saved[0] / "MLmodel").read_text())

    assert manifest["graphids_version"] == __version__
    assert mlmodel["flavors"]["graphids"]["graphids_version"] == __version__


def test_a_manifest_of_a_newer_format_says_what_to_install(saved: Saved) -> None:
    digest = rewrite(saved[0], lambda _: None, format_version=99, graphids_version=NEWER)

    with pytest.raises(IntegrityError, match=rf"manifest\.json: format_version is 99, expected 2\. {ADVICE}"):
        load_model(saved[0], expected_digest=digest)
    report = verification_report(saved[0], expected_digest=digest)
    assert f"Install graphids {NEWER} from its repository" in str(report)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: m.update(format_version=99), r"model\.json: format_version is 99, expected 2\."),
        (
            lambda m: m["node_features"].append({"name": "entropy", "unit": "bit"}),
            r"trained on other node_features than this graphids computes; they differ in \[\('entropy', 'bit'\)\]\.",
        ),
        (lambda m: m["edge_features"].reverse(), r"other edge_features .*; they differ in only their order\."),
    ],
    ids=["newer format", "unknown column", "other order"],
)
def test_a_model_that_needs_another_graphids_says_which(
    saved: Saved, edit: Callable[[dict[str, Any]], object], message: str
) -> None:
    digest = rewrite(saved[0], edit, graphids_version=NEWER)

    with pytest.raises(IncompatibleModelError, match=f"{message} {ADVICE}"):
        load_model(saved[0], expected_digest=digest)


def test_an_architecture_that_this_graphids_cannot_build_says_which_can(saved: Saved) -> None:
    digest = rewrite(saved[0], lambda m: m["architecture"].update(experts=4), graphids_version=NEWER)

    with pytest.raises(IntegrityError, match=rf"unexpected keyword argument 'experts'\)\. {ADVICE}"):
        load_model(saved[0], expected_digest=digest)


def test_nobody_is_told_to_install_the_version_that_is_installed(saved: Saved) -> None:
    digest = rewrite(saved[0], lambda m: m.update(format_version=99))

    with pytest.raises(IncompatibleModelError) as refused:
        load_model(saved[0], expected_digest=digest)

    assert f"written by graphids {__version__}, the installed version. To use it here, log" in str(refused.value)
    assert "nstall graphids" not in str(refused.value)


def test_a_model_of_an_older_format_did_not_name_its_version(saved: Saved) -> None:
    manifest = json.loads((saved[0] / "manifest.json").read_text())
    del manifest["graphids_version"]
    write_manifest(saved[0], json.dumps({**manifest, "format_version": 1}).encode())

    with pytest.raises(IntegrityError, match=rf"It does not say which graphids wrote it; {__version__} is installed"):
        load_model(saved[0], policy="integrity-only")


@pytest.mark.parametrize("version", [None, 2, "", "latest", "1.0\nanchor: none", "1.0; pip install x", "1" * 65])
def test_a_version_that_could_not_be_a_tag_is_refused(saved: Saved, version: Any) -> None:
    rewrite(saved[0], lambda _: None, graphids_version=version)

    with pytest.raises(IntegrityError, match=r"manifest\.json: graphids_version is .*, expected a version such as"):
        load_model(saved[0], policy="integrity-only")


def test_the_commands_say_it_in_one_line(saved: Saved, capsys: pytest.CaptureFixture[str]) -> None:
    digest = rewrite(saved[0], lambda m: m.update(format_version=99), graphids_version=NEWER)

    with pytest.raises(SystemExit, match="2"):
        cli.main(["evaluate", "--model", str(saved[0]), "--expected-digest", digest])

    (line,) = capsys.readouterr().err.splitlines()
    assert f"Install graphids {NEWER} from its repository (tag v{NEWER})" in line
    assert "pip" not in line
