"""`graphids retune` refuses in one line what it cannot do, before or within its run."""

from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from graphids.commands.cli import main
from graphids.exit_codes import EXIT_REFUSED
from support.stores import empty_store


@pytest.mark.parametrize("rate", ["-1", "nan", "inf", "six", ""])
def test_a_rate_that_is_no_rate_is_refused_before_there_is_a_run(
    rate: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphids.commands.retune.retune", lambda *_, **__: pytest.fail("retuned"))
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)

    with pytest.raises(SystemExit) as left:
        main(["retune", "r1", f"--false-alarms-per-hour={rate}"])

    assert left.value.code == EXIT_REFUSED
    assert capsys.readouterr().err == (
        f"graphids retune: --false-alarms-per-hour: given {rate!r}; allowed is a finite number >= 0 (normal windows "
        "per hour that may alert).\n"
    )


def test_a_run_that_is_unknown_or_has_no_model_fails_the_new_run_with_a_name_and_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.setattr("mlflow.tracking.fluent._active_experiment_id", None)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(empty_store(tmp_path))
    try:
        client = MlflowClient()
        empty = client.create_run("0").info.run_id
        for run_id, reason in (("nosuchrun", "given 'nosuchrun'; expected a run"), (empty, "logged 0 models")):
            with pytest.raises(SystemExit, match=str(EXIT_REFUSED)):
                main(["retune", run_id, "--false-alarms-per-hour", "6"])

            failed = client.search_runs(["0"], max_results=1)[0]
            assert failed.info.status == "FAILED"
            assert failed.info.run_name == "refused: run_id"
            assert failed.data.tags["graphids.retune_of"] == run_id
            assert reason in failed.data.tags["mlflow.note.content"]
            assert reason in capsys.readouterr().err
    finally:
        mlflow.set_tracking_uri(before)
