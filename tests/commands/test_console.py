"""What a newcomer reads while a training runs: a real `graphids train`, into a file and on a terminal."""

import fcntl
import logging
import os
import pty
import re
import struct
import subprocess
import termios
import warnings
from pathlib import Path

import pytest

from graphids.commands.console import quiet_libraries
from support.main_job import Store
from support.resumed_run import SIZES

EPOCHS = 2
WORDS = ("graphids", "train", "--data=simulated", f"--max-epochs={EPOCHS}", "--accelerator=cpu", *SIZES)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store")).create()


@pytest.fixture(scope="module")
def in_a_file(store: Store) -> subprocess.CompletedProcess[str]:
    done = store.command(*WORDS)
    assert done.returncode == 0, done.stderr
    return done


def test_without_a_terminal_each_epoch_is_one_line(in_a_file: subprocess.CompletedProcess[str]) -> None:
    lines = [line for line in in_a_file.stdout.splitlines() if line.startswith("epoch ")]

    assert len(lines) == EPOCHS
    for number, line in enumerate(lines, start=1):
        name, train_loss, val_loss, *others, seconds = line.split("  ")
        assert name == f"epoch {number}/{EPOCHS}"
        assert re.fullmatch(r"train/loss \d\.\d{4}", train_loss)
        assert re.fullmatch(r"val/loss \d\.\d{4}", val_loss)
        assert [other.split()[0] for other in others] == ["val/auroc", "val/average_precision", "val/macro_auroc"]
        assert re.fullmatch(r"\d+\.\d s", seconds)
    assert "\r" not in in_a_file.stdout + in_a_file.stderr
    assert "\x1b" not in in_a_file.stdout + in_a_file.stderr


def test_libraries_neither_advertise_nor_warn_of_what_a_user_cannot_change(
    in_a_file: subprocess.CompletedProcess[str],
) -> None:
    said = in_a_file.stdout + in_a_file.stderr

    assert not re.search(r"litlogger|litmodels|Tip:|deprecated|Warning|site-packages|TPU", said, re.IGNORECASE)


def test_metrics_are_not_listed_as_layers(in_a_file: subprocess.CompletedProcess[str]) -> None:
    assert re.search(r"^network with [\d,]+ parameters on cpu$", in_a_file.stdout, re.MULTILINE)
    assert "SplitMargins" not in in_a_file.stdout
    assert "EpochMean" not in in_a_file.stdout


def test_on_a_terminal_a_bar_shows_the_batches(store: Store) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with subprocess.Popen(
        WORDS, stdout=theirs, stderr=subprocess.PIPE, text=True, env=store.environment(), cwd=store.folder
    ) as training:
        os.close(theirs)
        shown = b""
        try:
            while not (bar := re.search(rb"Epoch 1: +100%\|.*\r", shown)) and (piece := os.read(ours, 4096)):
                shown += piece
        except OSError:  # Linux's word for the end of a terminal
            pass
        training.kill()  # what comes after the epochs is no other than in a file
        _, err = training.communicate(timeout=60)
    os.close(ours)

    assert bar, err
    assert b"epoch 1/" not in shown


def test_a_program_that_imports_graphids_keeps_its_warnings_and_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    filters = list(warnings.filters)
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    tip = "💡 Tip: For seamless cloud logging, try installing [litlogger]"

    with caplog.at_level("INFO", logger.name):
        with quiet_libraries():
            logger.info(tip)
            logger.info("GPU available: False, used: False")
        logger.info(tip)

    assert [record.getMessage() for record in caplog.records] == ["GPU available: False, used: False", tip]
    assert warnings.filters == filters


def test_only_known_warnings_of_known_modules_are_left_out() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet_libraries():
            for module in ("lightning.pytorch.utilities._pytree", "drives.own"):
                warnings.warn_explicit(
                    "`isinstance(treespec, LeafSpec)` is deprecated, use something else",
                    FutureWarning,
                    filename=str(Path("own.py")),
                    lineno=1,
                    module=module,
                )

    assert len(caught) == 1
