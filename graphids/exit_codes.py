"""Exit codes: what a command says to the shell, the job scheduler or the sweep that ran it."""

import signal
import textwrap

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_REFUSED = 2
EXIT_NOT_VERIFIED = 3
EXIT_NOT_COVERED = 4
EXIT_ALERTS = 5
EXIT_NOT_SENT = 75  # EX_TEMPFAIL of sysexits.h
EXIT_READER_GONE = 128 + signal.SIGPIPE  # what a shell reports for a program that SIGPIPE ended
EXIT_TERMINATED = 128 + signal.SIGTERM  # what a shell reports for a program that SIGTERM ended

EXIT_CODES = {
    EXIT_OK: "done",
    EXIT_FAILED: "a defect of graphids, with a traceback; or children of a sweep failed",
    EXIT_REFUSED: "wrong use or bad input, or an entry that MLflow does not accept; one line on standard error says "
    "what, where and what to do",
    EXIT_NOT_VERIFIED: "a model, a checkpoint, captures or an outbox are not what they were",
    EXIT_NOT_COVERED: "predict, report: every window was scored, but the model knows the IDs of less than half of a "
    "bus's frames and cannot judge it, so that an alert means nothing either; --allow-uncovered turns this code off",
    EXIT_ALERTS: "predict --fail-on-alert: there is at least one incident, and code 4 does not apply",
    EXIT_NOT_SENT: "the work is done, but MLflow does not have all of it yet: graphids sync",
    EXIT_READER_GONE: "whoever read the output has gone (| head -1), and nothing more was written; commands with an "
    "MLflow run, a server or a file to write go on without a reader",
    EXIT_TERMINATED: "ended by SIGTERM; graphids resume goes on with a training",
}


def exit_code_table() -> str:
    """Every code with its meaning, for `--help`."""
    rows = [
        textwrap.fill(meaning, 78, initial_indent=f"{code:5}  ", subsequent_indent=" " * 7)
        for code, meaning in EXIT_CODES.items()
    ]
    return "\n".join(["exit codes:", *rows])
