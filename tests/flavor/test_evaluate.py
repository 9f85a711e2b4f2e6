"""`graphids evaluate` on captures that are not as they should be."""

from pathlib import Path

import pytest

from graphids.commands import cli

FRAME = "{:.3f},1A4,DEADBEEF,{:d}\n"


@pytest.mark.usefixtures("store")
def test_a_bad_line_of_a_capture_is_refused_or_dropped_as_asked(
    saved: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capture = tmp_path / "dos-1.csv"
    rows = [FRAME.format(i / 1000, 60 <= i < 80) for i in range(120)]
    capture.write_text("timestamp,arbitration_id,data_field,attack\n" + "".join([*rows[:50], "x,y\n", *rows[50:]]))
    command = ["evaluate", "--model", str(saved[0]), "--expected-digest", saved[1], "--data", str(capture)]

    with pytest.raises(SystemExit, match="2"):
        cli.main(command)
    assert "dos-1.csv:52: no timestamp" in capsys.readouterr().err
    cli.main([*command, "--on-bad-line", "drop"])

    assert "dos" in capsys.readouterr().out
