"""What is refused, with which message, and that nothing planted runs; tests/support/tampering.py does the damage."""

import os
import re
import sys
import time
from pathlib import Path

import pytest

from graphids.commands import cli
from graphids.core.classifier import WindowClassifier
from mlflow_graphids import IntegrityError, _load_pyfunc, load_model, save_model, verify_model
from mlflow_graphids.verification import folder as verification
from support.tampering import INVISIBLE_WITHOUT_ANCHOR, TAMPERING, WEIGHTS, WHEEL, marker_of, reseal, tampered_copy
from support.tiny_model import tiny_profile_classifier

Saved = tuple[Path, str]

_PATH = "expected a relative path of plain names"
_IRREGULAR = r"not a regular file \(a link, a pipe or a device\)"
# The message; empty if only an anchor can tell.
REASONS = {
    "one bit of the weights flipped": r"weights\.safetensors: expected sha256 [0-9a-f]{64}, found [0-9a-f]{64}",
    "one bit of model.json flipped": r"model\.json: expected sha256",
    "weights cut": r"weights\.safetensors: expected \d+ bytes, found \d+",
    "weights grown": r"weights\.safetensors: expected \d+ bytes, found \d+",
    "weights missing": r"weights\.safetensors: missing",
    "manifest missing": r"manifest\.json: missing",
    "MLmodel missing": r"MLmodel: missing",
    "undeclared file": r"notes\.txt: undeclared",
    "undeclared pickle": r"model\.pkl: undeclared",
    "undeclared file in a folder": r"extra/weights\.safetensors: undeclared",
    "undeclared bytecode": r"code/__pycache__/reader\.cpython-311\.pyc: undeclared",
    "weights a link to the right bytes": rf"weights\.safetensors: {_IRREGULAR}",
    "manifest a link": rf"manifest\.json: {_IRREGULAR}",
    "MLmodel a link": rf"MLmodel: {_IRREGULAR}",
    "a folder that is a link": rf"code: {_IRREGULAR}",
    "weights a pipe": rf"weights\.safetensors: {_IRREGULAR}",
    "manifest a pipe": rf"manifest\.json: {_IRREGULAR}",
    "MLmodel a pipe": rf"MLmodel: {_IRREGULAR}",
    "undeclared pipe": rf"pipe: {_IRREGULAR}",
    "weights a device": rf"weights\.safetensors: {_IRREGULAR}",
    "weights a folder": r"weights\.safetensors: missing",
    "weights sparse and oversized": r"weights\.safetensors: expected \d+ bytes, found 1099511627776",
    "manifest sparse and oversized": r"manifest\.json: .*expected at most 1048576 bytes, found 1099511627776",
    "MLmodel sparse and oversized": r"MLmodel: .*expected at most 1048576 bytes, found 1099511627776",
    "a file named code": r"code: undeclared",
    "a name that forges lines of the report": r"'x\\nok {17}y\\x1b\[2K': undeclared",
    "folders deeper than any path": r"d{200}/: cannot be read \(File name too long\)",
    "ten thousand empty folders": r"holds more than 10000 entries; no model does",
    "one bit of the wheel flipped": r"mlflow_graphids-\S+-py3-none-any\.whl: expected sha256",
    "wheel missing": r"wheels/mlflow_graphids-\S+-py3-none-any\.whl: missing",
    "wheel a link to the right bytes": rf"mlflow_graphids-\S+-py3-none-any\.whl: {_IRREGULAR}",
    "wheel of another version": r"'wheels/mlflow_graphids-99\.1\.0-py3-none-any\.whl': is not one of the files",
    "second wheel": r"wheels/mlflow_graphids-99\.1\.0-py3-none-any\.whl: undeclared",
    "second wheel declared": r"'wheels/mlflow_graphids-99\.1\.0-py3-none-any\.whl': is not one of the files",
    "wheel of another project declared": r"'wheels/graphids-0\.1\.0-py3-none-any\.whl': is not one of the files",
    "source archive declared": r"'wheels/mlflow_graphids-0\.2\.0\.tar\.gz': is not one of the files",
    "wheel in a folder of wheels": r"'wheels/older/mlflow_graphids-\S+': is not one of the files",
    "code planted in the wheel and every digest repaired": "",
    "one bit of the profile flipped": r"vehicle\.profile: expected sha256",
    "profile missing": r"vehicle\.profile: missing",
    "profile a link to the right bytes": rf"vehicle\.profile: {_IRREGULAR}",
    "profile sparse and oversized": r"vehicle\.profile: expected \d+ bytes, found 1099511627776",
    "profile a pickle that the manifest declares": r"vehicle\.profile: is not a profile of graphids",
    "profile of another version": r"vehicle\.profile: is a profile of version 9, expected 3",
    "profile that does not agree with its own digest": r"vehicle\.profile: changed since it was written: sha256",
    "profile with a column less": r"vehicle\.profile: is not a whole profile \('roles'\)",
    "profile with IDs out of order": r"vehicle\.profile: is not a whole profile \(its arbitration IDs are not sorted\)",
    "profile of a network that judges raw features": r"vehicle\.profile: expected parts of one model.*raw features",
    "profile of another vehicle and every digest repaired": "",
    "profile left out and every digest repaired": "",
    "code planted": r"code/sitecustomize\.py: undeclared",
    "loader module swapped": r"loader_module is 'planted_loader', expected 'mlflow_graphids'",
    "loader module swapped in the manifest": r"manifest\.json: loader_module is 'os', expected 'mlflow_graphids'",
    "weights a pickle that the manifest declares": r"weights\.safetensors: expected a safetensors file",
    "reader planted": "",
    "another pickle declared": r"manifest\.json: 'model\.pkl': is not one of the files that a model consists of",
    "empty manifest": r"manifest\.json: expected JSON",
    "manifest without entries": r"manifest\.json: format_version is None, expected 2",
    "manifest without files": r"manifest\.json: lists no files",
    "manifest not an object": r"manifest\.json: expected a JSON object, found list",
    "manifest with a repeated key": r"manifest\.json: expected JSON without repeated keys.*an object repeats a key",
    "other digest algorithm": r"expected path, size_bytes and sha256 of every file and no other digest",
    "digest of another length": r"expected a sha256, 64 hex digits in lower case, found '0{128}'",
    "digest in upper case": r"expected a sha256, 64 hex digits in lower case, found 'A{64}'",
    "negative size": r"size_bytes is -1, expected 0 to",
    "size that is not a number": r"size_bytes is True, expected 0 to",
    "size beyond any model": r"size_bytes is 1099511627776, expected 0 to",
    "sizes beyond any model in all": r"lists files of 106\d{9} bytes in all, expected at most 1073741824",
    "path out of the folder": rf"'\.\./weights\.safetensors': {_PATH}",
    "path out of code/": rf"'code/\.\./\.\./weights\.safetensors': {_PATH}",
    "absolute path": rf"'/etc/passwd': {_PATH}",
    "path with a backslash": rf"'code\\\\weights\.safetensors': {_PATH}",
    "path with a drive": rf"'code/C:weights\.safetensors': {_PATH}",
    "empty path": rf"'': {_PATH}",
    "path that is a dot": rf"'\.': {_PATH}",
    "path with a newline": rf"'code/a\\nb': {_PATH}",
    "names that collide in case": r"'code/reader\.py': collides with 'code/Reader\.py'",
    "names that collide in Unicode": r"collides with 'code/é\.py'",
    "file declared twice": r"'weights\.safetensors': collides with 'weights\.safetensors'",
    "manifest that lists itself": r"'manifest\.json': is not one of the files",
    "manifest that lists MLmodel": r"'MLmodel': is not one of the files",
    "manifest nested too deeply": r"manifest\.json: expected JSON.*recursion",
    "manifest with a huge number": r"manifest\.json: expected JSON.*digits",
    "manifest with NaN": r"manifest\.json: expected JSON.*NaN is not a JSON number",
    "manifest that is not UTF-8": r"manifest\.json: expected JSON.*'utf-8' codec",
    "manifest in UTF-16": r"manifest\.json: expected JSON.*'utf-8' codec",
    "manifest of another version": r"manifest\.json: format_version is 3, expected 2",
    "manifest with an unknown key": r"manifest\.json: has unknown keys loader",
    "signature changed": r"MLmodel: signature is .*, expected",
    "flavor section changed": r"MLmodel: flavors\.graphids\.files is \{\}, expected",
    "another flavor added": r"MLmodel: flavors is \['graphids', 'python_function', 'sklearn'\]",
    "MLmodel with a repeated key": r"MLmodel: expected YAML without repeated keys.*a mapping repeats a key",
    "MLmodel with an alias": r"MLmodel: expected YAML.*an anchor or an alias",
    "MLmodel with a merge key": r"MLmodel: expected YAML.*not a plain value",
    "MLmodel with a Python object": r"MLmodel: expected YAML.*could not determine a constructor",
    "MLmodel with a number in base 60": r"MLmodel: expected YAML.*more than 64 digits",
    "MLmodel with a number too large for a float": r"MLmodel: expected YAML.*OverflowError",
    "MLmodel with a malformed time": r"MLmodel: expected YAML.*AttributeError",
    "MLmodel with an empty number": r"MLmodel: expected YAML.*IndexError",
    "MLmodel nested too deeply": r"MLmodel: expected YAML.*nested too deeply",
    "MLmodel that is not UTF-8": r"MLmodel: expected YAML.*'utf-8' codec",
    "MLmodel empty": r"MLmodel: names no flavors",
    "a weight that is not a number": r"weights\.safetensors: expected finite weights, found NaN or infinity in",
    "model.json with a repeated key": r"model\.json: expected JSON without repeated keys",
    "model.json with an infinite number": r"model\.json: expected JSON.*too large for a float",
    "threshold changed and every digest repaired": "",
}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """A saved model with a profile."""
    folder = tmp_path_factory.mktemp("model") / "saved"
    return folder, save_model(tiny_profile_classifier(), folder)


def test_every_way_of_tampering_has_its_message() -> None:
    assert TAMPERING.keys() == REASONS.keys()
    assert {name for name, reason in REASONS.items() if not reason} == INVISIBLE_WITHOUT_ANCHOR


@pytest.mark.parametrize("tampering", TAMPERING)
def test_with_a_pinned_digest_every_tampered_model_is_refused(saved: Saved, tampering: str) -> None:
    folder, digest = saved
    TAMPERING[tampering](folder)

    with pytest.raises(
        IntegrityError,
        match=f"{re.escape(str(folder))}.*( is not the model that was saved|holds more than 10000 entries)",
    ):
        load_model(folder, expected_digest=digest)
    assert not marker_of(folder).exists()


@pytest.mark.parametrize("tampering", [name for name in TAMPERING if name not in INVISIBLE_WITHOUT_ANCHOR])
def test_without_an_anchor_whatever_does_not_agree_with_itself_is_refused(saved: Saved, tampering: str) -> None:
    folder, _ = saved
    TAMPERING[tampering](folder)

    started = time.perf_counter()
    with pytest.raises(IntegrityError, match=re.compile(REASONS[tampering], flags=re.DOTALL)):
        load_model(folder, policy="integrity-only")
    assert time.perf_counter() - started < 5  # nothing waits, and nothing reads a terabyte
    assert not marker_of(folder).exists()


@pytest.mark.parametrize(
    "tampering", ["code planted", "loader module swapped", "undeclared pickle", "reader planted", "second wheel"]
)
def test_nothing_planted_runs_through_any_of_our_doors(saved: Saved, tampering: str, tmp_path: Path) -> None:
    folder, digest = saved
    TAMPERING[tampering](folder)
    path, modules = list(sys.path), set(sys.modules)
    capture = tmp_path / "capture.csv"
    capture.write_text("timestamp,arbitration_id,data_field,attack\n")

    for pin in ((), ("--expected-digest", digest)):
        for command in (
            ["verify", str(folder), *pin],
            ["predict", str(capture), "--allow-code", "--model", str(folder), *pin],
            ["evaluate", "--model", str(folder), *pin],
            ["serve", str(folder), "--port", "5999", *pin],
            ["sign", str(folder), "--key", "none.pem", *pin],
        ):
            with pytest.raises(SystemExit, match="3"):
                cli.main(command)
    with pytest.raises(IntegrityError):
        load_model(folder, policy="integrity-only", allow_code=True)

    assert not marker_of(folder).exists()
    assert sys.path == path
    assert not {name for name in set(sys.modules) - modules if "planted" in name}


def test_a_planted_reader_is_not_unpickled_even_if_the_folder_agrees_with_itself(saved: Saved) -> None:
    folder, _ = saved
    TAMPERING["reader planted"](folder)

    assert load_model(folder, policy="integrity-only").capture_reader is None
    with pytest.raises(IntegrityError, match=r"reader\.pkl is code, and nothing outside the artifact vouches for it"):
        load_model(folder, policy="integrity-only", allow_code=True)

    assert not marker_of(folder).exists()


def test_nothing_is_imported_from_the_wheel(saved: Saved) -> None:
    folder, _ = saved
    (folder / WHEEL).write_bytes(b"not even an archive")
    reseal(folder)
    path = list(sys.path)

    load_model(folder, policy="integrity-only")
    _load_pyfunc(str(folder))

    assert sys.path == path
    assert not [name for name in list(sys.modules) if ".whl" in str(getattr(sys.modules[name], "__file__", ""))]


def test_code_that_a_model_declares_is_not_run_by_load_model(classifier: WindowClassifier, tmp_path: Path) -> None:
    (tmp_path / "vehicle.py").write_text(f"import os\nos.mkdir({os.fspath(tmp_path / 'ran')!r})\n")
    digest = save_model(classifier, tmp_path / "m", code_paths=[str(tmp_path / "vehicle.py")])

    load_model(tmp_path / "m", expected_digest=digest)

    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("swap", "problem"),
    [
        ("link", "expected a regular file, found a symbolic link"),
        ("pipe", "expected a regular file, found a FIFO"),
        ("longer", r"expected \d+ bytes, found 1"),
        ("same size", "expected sha256"),
        ("gone", "cannot be read"),
    ],
)
def test_a_file_that_is_replaced_after_the_listing_is_refused(
    saved: Saved, monkeypatch: pytest.MonkeyPatch, swap: str, problem: str
) -> None:
    folder, digest = saved
    weights, size = folder / WEIGHTS, (folder / WEIGHTS).stat().st_size
    read = verification.read_digested

    def replace_then_read(path: Path, **bounds: int) -> tuple[memoryview, str]:
        if path == weights:
            weights.rename(weights.with_suffix(".aside"))
            match swap:
                case "link":
                    weights.symlink_to(weights.with_suffix(".aside"))
                case "pipe":
                    os.mkfifo(weights)
                case "longer":
                    weights.write_bytes(b"x")
                case "same size":
                    weights.write_bytes(b"x" * size)
        return read(path, **bounds)

    monkeypatch.setattr(verification, "read_digested", replace_then_read)

    with pytest.raises(IntegrityError, match=rf"weights\.safetensors: .*{problem}"):
        load_model(folder, expected_digest=digest)


def test_the_folder_itself_may_be_reached_through_a_link(saved: Saved, tmp_path: Path) -> None:
    """A deployment points `current` at a model; what the caller names, the caller may name by a link."""
    (tmp_path / "current").symlink_to(saved[0])

    assert verify_model(tmp_path / "current", expected_digest=saved[1]) == saved[1]


def test_tampering_with_a_copy_leaves_the_model_whole(saved: Saved, tmp_path: Path) -> None:
    tampered_copy(saved[0], "weights cut", tmp_path / "copy")

    assert verify_model(saved[0], expected_digest=saved[1]) == saved[1]
