"""The sidecar of a checkpoint: what `<checkpoint>.sha256` says, or what is wrong with it.

One line in the format of `sha256sum`; while a save is open, the new digest is in a `#` line below it, or alone if
nothing valid is being replaced.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from graphids._fs.files import IntegrityError, digest_bytes, read_digested

SUFFIX = ".sha256"
_MAX_BYTES = 1 << 16
_OTHER_ALGORITHMS = {32: "md5", 40: "sha1", 56: "sha224", 96: "sha384", 128: "sha512"}


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a sidecar says about its checkpoint.

    Attributes:
        line: Digest in the line that `sha256sum` reads, or None.
        pending: Digest in the `#` line, or None.
        problem: Why there is neither, and what to do; else empty.
    """

    line: str | None = None
    pending: str | None = None
    problem: str = ""

    def accepts(self, digest: str) -> bool:
        """Whether bytes with this digest are a saved checkpoint."""
        return digest in (self.line, self.pending)

    def __str__(self) -> str:
        return " or ".join(digest for digest in (self.line, self.pending) if digest)


def sidecar_path(path: str | os.PathLike[str]) -> Path:
    """Path of the sidecar of `path`: `.sha256` appended."""
    path = Path(path)
    return path.with_name(f"{path.name}{SUFFIX}")


def sidecar_text(path: Path, line: str | None, *, pending: str | None = None) -> bytes:
    """Content of the sidecar of `path`.

    Raises:
        ValueError: If the file name contains a line break, which a sidecar cannot represent.
    """
    if "\n" in path.name or "\r" in path.name:
        raise ValueError(
            f"{path!r}: expected a file name without line breaks, which a sidecar cannot represent. Rename it."
        )
    first = b"" if line is None else line.encode() + b"  " + os.fsencode(path.name) + b"\n"
    return first if pending is None else first + f"# {pending}\n".encode()


def read_sidecar(path: Path) -> Sidecar:
    """Read the sidecar of `path`; a missing or malformed one is a `problem`, not an error.

    Raises:
        OSError: If it cannot be read.
    """
    sidecar = sidecar_path(path)
    try:
        text = bytes(read_digested(sidecar, max_bytes=_MAX_BYTES)[0])
    except FileNotFoundError:
        return Sidecar(
            problem=f"{path}: expected its digest in {sidecar.name}, found no such file. Without it nothing tells "
            "whether the checkpoint is intact. Restore it from a copy; if you know that it is intact, "
            f"`graphids adopt {path}` writes one."
        )
    except IntegrityError as error:
        return Sidecar(problem=str(error))
    named = rb"(?P<line>[0-9a-f]{64})  " + re.escape(os.fsencode(path.name)) + rb"\n"
    match = re.fullmatch(rb"(?=.)(?:" + named + rb")?(?:# (?P<pending>[0-9a-f]{64})\n)?", text)
    if match is None:
        return Sidecar(
            problem=f"{sidecar}: expected '<64 hex digits>  {path.name}', found {_what_is_wrong(text, path.name)}. "
            "Restore the sidecar and its checkpoint from a copy, or resume from another checkpoint of the run. If you "
            f"know that the checkpoint is intact, delete the sidecar and run `graphids adopt {path}`."
        )
    stated = {name: digest.decode() for name, digest in match.groupdict().items() if digest}
    return Sidecar(stated.get("line"), stated.get("pending"))


def _what_is_wrong(text: bytes, name: str) -> str:
    if not text:
        return "an empty file"
    if text.startswith(b"\xef\xbb\xbf"):
        return "a byte order mark before it; write the file without one"
    if b"\r\n" in text:
        return "Windows line ends (CRLF); write the file with LF"
    first = text.split(b"\n")[0]
    digest, _, named = first.decode(errors="backslashreplace").partition("  ")
    if re.fullmatch("[0-9a-fA-F]+", digest):
        if len(digest) in _OTHER_ALGORITHMS:
            return f"{len(digest)} hex digits, a digest of {_OTHER_ALGORITHMS[len(digest)]} and not of sha256"
        if digest != digest.lower():
            return "upper case digits; sha256sum writes lower case"
        if len(digest) == len(digest_bytes(b"")) and named and named != name:
            return f"the digest of another file, {named!r}"
    return repr(text[:160])
