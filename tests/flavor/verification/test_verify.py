"""`graphids verify`: the anchor, every file's state, the exit code, and the same as JSON."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from graphids.commands import cli
from mlflow_graphids import save_model, verification_report
from mlflow_graphids.verification import folder as verification
from support.damage import flip_bit
from support.tampering import MANIFEST, TAMPERING, WHEEL
from support.tiny_model import tiny_profile_classifier

Saved = tuple[Path, str]


def test_every_file_of_a_whole_model_is_named_with_its_state(saved: Saved, capsys: pytest.CaptureFixture[str]) -> None:
    folder, digest = saved

    cli.main(["verify", str(folder), "--expected-digest", digest])

    assert capsys.readouterr().out.splitlines() == [
        f"anchor: {digest} from expected_digest",
        "ok                 MLmodel",
        "not used           conda.yaml",
        "ok                 manifest.json",
        "ok                 model.json",
        "not used           python_env.yaml",
        "not used           requirements.txt",
        "ok                 weights.safetensors",
        f"ok                 {WHEEL}",
        f"{folder}: every file matches; graphids.digest {digest}",
    ]


def test_a_profile_is_one_of_the_files_and_its_absence_is_said_of_a_model_that_needs_one(tmp_path: Path) -> None:
    digest = save_model(tiny_profile_classifier(), tmp_path / "car")
    bare = save_model(replace(tiny_profile_classifier(), profile=None), tmp_path / "any car")

    report, lacking = verification_report(tmp_path / "car", digest), verification_report(tmp_path / "any car", bare)

    assert {file.path: str(file.state) for file in report.files}["vehicle.profile"] == "ok"
    assert (report.verified, report.note) == (True, None)
    assert lacking.verified
    assert str(lacking).splitlines()[-1] == (
        "No vehicle.profile: the model scores once `graphids adapt` has given it the profile of a vehicle."
    )


def test_every_kind_of_damage_has_its_own_word(saved: Saved) -> None:
    folder, digest = saved
    flip_bit(folder / "model.json", 10)
    os.truncate(folder / "weights.safetensors", 100)
    (folder / "notes.txt").write_text("x")
    (folder / "requirements.txt").unlink()
    (folder / "requirements.txt").symlink_to("/etc/passwd")

    report = verification_report(folder, expected_digest=digest)

    assert not report.verified
    assert {file.path: str(file.state) for file in report.files} == {
        "MLmodel": "ok",
        "conda.yaml": "not used",
        "manifest.json": "ok",
        "model.json": "changed",
        "notes.txt": "undeclared",
        "python_env.yaml": "not used",
        "requirements.txt": "not a regular file",
        "weights.safetensors": "truncated",
        WHEEL: "ok",
    }
    TAMPERING["weights missing"](folder)
    states = {file.path: str(file.state) for file in verification_report(folder, expected_digest=digest).files}
    assert states["weights.safetensors"] == "missing"


def test_no_name_can_forge_a_line_of_the_report(saved: Saved) -> None:
    (saved[0] / "x\nanchor: none").write_text("")
    (saved[0] / os.fsdecode(b"\xff")).write_text("")

    printed = str(verification_report(saved[0], expected_digest=saved[1]))

    assert printed.encode()
    assert [line for line in printed.splitlines() if line.startswith("anchor:")] == [
        f"anchor: {saved[1]} from expected_digest"
    ]
    assert "undeclared         'x\\nanchor: none'\nundeclared         '\\udcff'\n" in printed


def test_files_that_an_unexpected_manifest_lists_are_not_compared(saved: Saved) -> None:
    folder, digest = saved
    flip_bit(folder / MANIFEST, 10)

    states = {file.path: str(file.state) for file in verification_report(folder, expected_digest=digest).files}

    assert (states[MANIFEST], states["weights.safetensors"]) == ("changed", "not compared")


def test_a_file_that_cannot_be_read_is_said_to_be_unreadable(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    read = verification.read_digested

    def fail_on_the_description(path: Path, **bounds: int) -> tuple[memoryview, str]:
        if path.name == "model.json":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return read(path, **bounds)

    monkeypatch.setattr(verification, "read_digested", fail_on_the_description)

    (problem, *_) = verification_report(saved[0], expected_digest=saved[1]).files

    assert (str(problem.state), str(problem)) == ("unreadable", "model.json: cannot be read (Permission denied)")


def test_json_is_one_object_with_the_documented_keys(saved: Saved, capsys: pytest.CaptureFixture[str]) -> None:
    folder, digest = saved

    cli.main(["verify", str(folder), "--expected-digest", digest, "--json"])
    whole = json.loads(capsys.readouterr().out)
    flip_bit(folder / "weights.safetensors", 100)
    with pytest.raises(SystemExit, match="3"):
        cli.main(["verify", str(folder), "--expected-digest", digest, "--json"])
    damaged = json.loads(capsys.readouterr().out)

    assert whole.keys() == damaged.keys() == {
        "model", "policy", "anchor", "expected_digest", "digest", "verified", "files", "error", "note",
    }  # fmt: skip
    assert (whole["verified"], whole["anchor"], whole["policy"], whole["error"]) == (
        True, "expected_digest", "anchored", None,
    )  # fmt: skip
    assert (damaged["verified"], damaged["files"][0]["path"], damaged["files"][0]["state"]) == (
        False, "weights.safetensors", "changed",
    )  # fmt: skip
    assert "weights.safetensors: expected sha256" in damaged["error"]


def test_json_is_also_printed_where_nothing_could_be_compared(saved: Saved, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="3"):
        cli.main(["verify", str(saved[0]), "--json"])

    found = json.loads(capsys.readouterr().out)
    assert (found["verified"], found["anchor"], found["files"]) == (False, None, [])
    assert "nothing outside the artifact" in found["error"]


def test_the_sentence_on_standard_error_says_what_to_do(saved: Saved, capsys: pytest.CaptureFixture[str]) -> None:
    TAMPERING["weights cut"](saved[0])

    with pytest.raises(SystemExit, match="3"):
        cli.main(["verify", str(saved[0]), "--expected-digest", saved[1]])

    assert "Download it again, or log the model again from its run." in capsys.readouterr().err


def test_verifying_a_folder_costs_no_import_of_torch(saved: Saved) -> None:
    program = (
        "import sys; from graphids.commands import cli; cli.main(sys.argv[1:])\n"
        "print({'torch', 'torch_geometric', 'lightning', 'numba'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", program, "verify", str(saved[0]), "--expected-digest", saved[1]]

    answer = subprocess.run(command, capture_output=True, text=True, check=True)

    assert answer.stdout.splitlines()[-2:] == [f"{saved[0]}: every file matches; graphids.digest {saved[1]}", "set()"]
