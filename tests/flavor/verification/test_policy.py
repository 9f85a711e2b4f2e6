"""The policy: what a model must show before it is used, and that no argument loosens what the deployment demands."""

import os
from pathlib import Path

import pytest

from graphids.commands import cli
from graphids.options import OptionError
from mlflow_graphids import IntegrityError, _load_pyfunc, load_model, verify_model
from mlflow_graphids.verification.trust import Trust

Saved = tuple[Path, str]


@pytest.mark.parametrize(
    ("deployment", "argument", "in_force"),
    [
        (None, None, "anchored"),
        (None, "integrity-only", "integrity-only"),
        ("integrity-only", None, "integrity-only"),
        ("integrity-only", "anchored", "anchored"),
        ("anchored", "integrity-only", "anchored"),
        ("anchored", None, "anchored"),
        ("anchored", "signed", "signed"),
        ("signed", "anchored", "signed"),
        ("signed", "integrity-only", "signed"),
    ],
)
def test_an_argument_only_tightens_what_the_deployment_demands(
    monkeypatch: pytest.MonkeyPatch,
    deployment: str | None,
    argument,
    in_force: str,  # type: ignore[no-untyped-def]
) -> None:
    if deployment is not None:
        monkeypatch.setenv("GRAPHIDS_POLICY", deployment)

    assert Trust.of(argument, public_key="key.pem").policy == in_force


@pytest.mark.parametrize("value", ["none", "ANCHORED", "anchored ", "0"])
def test_a_misspelled_policy_of_the_deployment_is_an_error(
    saved: Saved, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("GRAPHIDS_POLICY", value)

    with pytest.raises(OptionError, match=rf"GRAPHIDS_POLICY is '{value}', expected one of"):
        load_model(saved[0], expected_digest=saved[1])
    with pytest.raises(OptionError, match="GRAPHIDS_POLICY"):
        _load_pyfunc(os.fspath(saved[0]))


def test_the_deployment_can_forbid_what_an_argument_asks_for(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not load_model(saved[0], policy="integrity-only").anchored
    monkeypatch.setenv("GRAPHIDS_POLICY", "anchored")

    with pytest.raises(IntegrityError, match="and GRAPHIDS_POLICY=anchored demands it"):
        load_model(saved[0], policy="integrity-only")


def test_where_signatures_are_demanded_a_digest_is_not_enough(
    saved: Saved, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GRAPHIDS_POLICY", "signed")

    with pytest.raises(OptionError, match=r"\(GRAPHIDS_POLICY=signed\), but no key to verify it with"):
        load_model(saved[0], expected_digest=saved[1])
    monkeypatch.setenv("GRAPHIDS_PUBLIC_KEY", str(tmp_path / "key.pem"))
    with pytest.raises(IntegrityError, match=r"a signature is demanded \(GRAPHIDS_POLICY=signed\), found none"):
        load_model(saved[0], expected_digest=saved[1])


def test_an_argument_cannot_replace_the_key_of_the_deployment(
    saved: Saved, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GRAPHIDS_PUBLIC_KEY", str(tmp_path / "deployment.pem"))

    with pytest.raises(OptionError, match="an argument cannot replace the deployment's key"):
        load_model(saved[0], expected_digest=saved[1], public_key=tmp_path / "other.pem")


def test_a_key_without_a_signature_and_a_signature_without_a_key_are_refused(saved: Saved, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"a signature is demanded \(public_key=\), found none"):
        verify_model(saved[0], expected_digest=saved[1], public_key=tmp_path / "key.pem")
    with pytest.raises(OptionError, match=r"A signature is demanded \(signature=\), but no key"):
        verify_model(saved[0], expected_digest=saved[1], signature=tmp_path / "m.sig")


def test_pyfunc_warns_without_a_digest_and_refuses_where_the_deployment_demands_one(
    saved: Saved, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path, digest = os.fspath(saved[0]), saved[1]
    assert not _load_pyfunc(path).get_raw_model().anchored
    assert "shows that nothing is damaged, not that nobody changed them" in caplog.text

    monkeypatch.setenv("GRAPHIDS_POLICY", "anchored")
    with pytest.raises(IntegrityError, match=r"GRAPHIDS_POLICY=anchored demands .*Set GRAPHIDS_EXPECTED_DIGEST"):
        _load_pyfunc(path)
    monkeypatch.setenv("GRAPHIDS_EXPECTED_DIGEST", digest)
    assert _load_pyfunc(path).get_raw_model().anchored
    monkeypatch.setenv("GRAPHIDS_POLICY", "signed")
    with pytest.raises(IntegrityError, match=r"GRAPHIDS_POLICY=signed demands a signature.*Use `graphids serve`"):
        _load_pyfunc(path)


@pytest.mark.parametrize(
    "command", ["verify {}", "verify --model={}", "predict {}/MLmodel --model {}", "evaluate --model {}", "serve {}"]
)
def test_the_digest_of_the_deployment_binds_every_command(
    saved: Saved, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRAPHIDS_EXPECTED_DIGEST", "0" * 64)

    for more in ([], ["--policy", "integrity-only"]):
        with pytest.raises(SystemExit, match="3"):
            cli.main([*(part.format(saved[0]) for part in command.split()), *more])

        assert f"expected sha256 {'0' * 64}" in capsys.readouterr().err


def test_no_argument_replaces_the_digest_of_the_deployment(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, digest = saved
    monkeypatch.setenv("GRAPHIDS_EXPECTED_DIGEST", digest)
    assert verify_model(folder) == load_model(folder, expected_digest=digest).digest == digest

    monkeypatch.setenv("GRAPHIDS_EXPECTED_DIGEST", "0" * 64)
    with pytest.raises(IntegrityError, match="an argument cannot replace the deployment's digest"):
        verify_model(folder, expected_digest=digest)
    monkeypatch.setenv("GRAPHIDS_EXPECTED_DIGEST", "yes")
    with pytest.raises(OptionError, match="GRAPHIDS_EXPECTED_DIGEST is 'yes', expected a sha256"):
        verify_model(folder)


@pytest.mark.parametrize("value", ["--help", "--json", "-h"])
def test_a_model_that_is_named_like_an_option_is_not_verified(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As `mlflow run -e verify -P model_uri=--help` passes it."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["verify", f"--model={value}"])

    assert ended.value.code == 2
    assert f"{value}: there is no such folder" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["verify {}", "predict {}/MLmodel --model {}", "evaluate --model {}", "serve {}"])
def test_every_command_refuses_a_model_without_an_anchor(
    saved: Saved, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="3"):
        cli.main([word.format(saved[0]) for word in command.split()])

    assert "nothing outside the artifact says what its digest should be" in capsys.readouterr().err


def test_a_command_accepts_integrity_only_and_warns(
    saved: Saved, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    cli.main(["verify", str(saved[0]), "--policy", "integrity-only"])

    assert "anchor: none" in capsys.readouterr().out
    assert "NOT that nobody changed them" in caplog.text


def test_an_unknown_policy_is_wrong_use(saved: Saved, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["verify", str(saved[0]), "--policy", "trusting"])

    assert "policy is 'trusting', expected one of" in capsys.readouterr().err
