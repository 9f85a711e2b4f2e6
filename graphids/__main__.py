"""`python -m graphids`: the command line of this very interpreter, whatever is on PATH."""

from graphids.commands.cli import main

if __name__ == "__main__":
    main()
