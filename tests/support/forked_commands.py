"""Commands of this project in processes that begin with the imports of a test, at any time of a run.

A process that has opened a store or a thread must not be forked: one is forked before it has, and waits for commands.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO

Work = Callable[[list[str], dict[str, str]], int]


@contextmanager
def forked_commands(work: Work) -> Iterator[Callable[[Sequence[str], Mapping[str, str]], int]]:
    """A function that has `work(words, environ)` done by the process that is forked here; returns what it returns."""
    ours_in, theirs_out = os.pipe()
    theirs_in, ours_out = os.pipe()
    nursery = os.fork()
    if nursery == 0:
        os.close(ours_in)
        os.close(ours_out)
        try:
            _serve(os.fdopen(theirs_in), os.fdopen(theirs_out, "w"), work)
        finally:
            os._exit(0)
    os.close(theirs_in)
    os.close(theirs_out)
    with os.fdopen(ours_in) as answers, os.fdopen(ours_out, "w") as commands:

        def launch(words: Sequence[str], environ: Mapping[str, str]) -> int:
            print(json.dumps([list(words), dict(environ)]), file=commands, flush=True)
            return int(answers.readline())

        yield launch
    os.waitpid(nursery, 0)


def _serve(commands: IO[str], answers: IO[str], work: Work) -> None:
    for line in commands:
        print(work(*json.loads(line)), file=answers, flush=True)
