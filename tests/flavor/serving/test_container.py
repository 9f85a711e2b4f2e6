"""The command of the documented container, as a container runs it: as nobody, on a read-only disk, in 2 GiB."""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from mlflow_graphids import load_model
from support.paths import ROOT
from support.ports import free_port
from support.scoring_client import ask, split_body, until

MEMORY_BYTES = 2 << 30
NOBODY = 65534
# nobody may read what belongs to others, as in an image, and write nothing of it.
AS_NOBODY = (
    "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
    "--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search", "--bounding-set=-all,+dac_read_search",
)  # fmt: skip
# As `docker run --read-only --tmpfs /tmp` does.
_REMOUNT = 'mount -t tmpfs -o mode=1777 none "${TMPDIR:-/mnt}" && mount -o remount,bind,ro / && exec "$@"'
READ_ONLY = ("unshare", "--mount", "sh", "-c", _REMOUNT, "sh")


def command_of_the_image() -> str:
    """What the documented image runs."""
    cmd = re.search(r"^CMD (\[.*\])$", (ROOT / "docs" / "integrity.md").read_text(), re.MULTILINE)
    assert cmd is not None
    shell, flag, command = json.loads(cmd[1])
    assert (shell, flag) == ("sh", "-c")
    return str(command)


def require(*command: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become nobody")
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}")
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"{command[0]} is not allowed here: {tried.stderr.strip()}")


@pytest.fixture
def control_group() -> Iterator[Path]:
    """A control group of processes that may hold 2 GiB together."""
    for root, limit in (("memory", "memory.limit_in_bytes"), ("", "memory.max")):
        group = Path("/sys/fs/cgroup", root, f"graphids-test-{os.getpid()}")
        with contextlib.suppress(OSError):
            group.mkdir()
            (group / limit).write_text(str(MEMORY_BYTES))
            yield group
            until(lambda: not (group / "cgroup.procs").read_text())  # noqa: B023 -- the loop ends here
            group.rmdir()
            return
    pytest.skip("no control group for memory can be made here")


@contextlib.contextmanager
def served(folder: Path, digest: str, group: Path, *prefix: str, tmp: Path) -> Iterator[str]:
    port = free_port()
    image_command = command_of_the_image().replace("/model", shlex.quote(str(folder)))
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": "/nonexistent",
        "TMPDIR": str(tmp),
        "GRAPHIDS_POLICY": "anchored",
        "GRAPHIDS_EXPECTED_DIGEST": digest,
    }
    assert "5001" in image_command
    joined = f"echo $$ > {group}/cgroup.procs && exec {shlex.join([*prefix, *AS_NOBODY, 'sh', '-c'])} "
    process = subprocess.Popen(
        ["sh", "-c", joined + shlex.quote(image_command.replace("0.0.0.0", "127.0.0.1").replace("5001", str(port)))],
        env=environment,
        cwd="/",
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert digest in process.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0


# Where nothing can be written at all, nothing of others is.
@pytest.mark.parametrize(
    "prefix",
    [pytest.param((), id="disk of others", marks=pytest.mark.slow), pytest.param(READ_ONLY, id="read-only disk")],
)
def test_an_unprivileged_server_in_two_gib_gives_the_right_scores(
    saved: tuple[Path, str], table: pd.DataFrame, control_group: Path, prefix: tuple[str, ...], tmp_path: Path
) -> None:
    require(*AS_NOBODY)
    if prefix:
        require(*prefix)
    tmp = tmp_path / "tmp"
    tmp.mkdir()
    os.chown(tmp, NOBODY, NOBODY)

    with served(*saved, control_group, *prefix, tmp=tmp) as url:
        answer = ask(url, split_body(table))

    pd.testing.assert_frame_equal(
        answer.scores, load_model(saved[0], expected_digest=saved[1]).predict(table), rtol=1e-6
    )
