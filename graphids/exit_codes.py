"""Exit codes: what a command says to the shell, the job scheduler or the sweep that ran it."""

import signal

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_REFUSED = 2  # wrong use, bad input, or an entry that MLflow does not accept as it is
EXIT_NOT_VERIFIED = 3  # bytes that are not those that were written: of a model, a checkpoint, captures or an outbox
EXIT_NOT_COVERED = 4  # scored, but the model knows too few of the capture's IDs to judge it
EXIT_ALERTS = 5  # at least one window alerts, and --fail-on-alert asked to be told
EXIT_NOT_SENT = 75  # EX_TEMPFAIL of sysexits.h: the work is done, but MLflow does not have all of it yet
EXIT_TERMINATED = 128 + signal.SIGTERM  # what a shell reports for a program that SIGTERM ended
