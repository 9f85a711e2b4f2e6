"""Tampering with a saved model: what anyone who can write to its folder may do, one function per way, named after it.

Everything in `TAMPERING` must be refused if the digest is pinned outside the folder. If it is not, all but
`INVISIBLE_WITHOUT_ANCHOR` must be: after those the folder agrees with itself, which is why a digest beside the bytes
proves nothing about who wrote them.
"""

import contextlib
import hashlib
import json
import os
import pickle
import platform
import shutil
import stat
import zipfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.numpy
import safetensors.torch
import yaml

from graphids import __version__
from graphids._fs import digest_file
from graphids.core.profile.profile_file import profile_bytes
from mlflow_graphids.artifacts import to_payload
from mlflow_graphids.verification.manifest import wheel_file
from support.damage import flip_bit
from support.tiny_model import three_ids_profile, tiny_classifier

WEIGHTS, MODEL, MANIFEST, MLMODEL = "weights.safetensors", "model.json", "manifest.json", "MLmodel"
PROFILE = "vehicle.profile"
WHEEL = wheel_file(__version__)
_OTHER_WHEEL = WHEEL.replace(__version__, "99.1.0")
_SPARSE_BYTES = 1 << 40
Tamper = Callable[[Path], None]


def edit_mlmodel(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    description = yaml.safe_load((folder / MLMODEL).read_text())
    edit(description)
    (folder / MLMODEL).write_text(yaml.safe_dump(description))


def reseal(folder: Path) -> None:
    """Make all digests in the folder agree again, as someone can who can write every file of the model."""
    manifest = json.loads((folder / MANIFEST).read_text())
    for entry in manifest["files"]:
        entry["sha256"] = digest_file(folder / entry["path"])
        entry["size_bytes"] = (folder / entry["path"]).stat().st_size
    write_manifest(folder, json.dumps(manifest).encode())


def write_manifest(folder: Path, data: bytes) -> None:
    """Put a manifest in place, and let MLmodel name it and the files that it lists."""
    (folder / MANIFEST).write_bytes(data)

    def update(description: dict[str, Any]) -> None:
        section = description["flavors"]["graphids"]
        section["digest"] = digest_file(folder / MANIFEST)
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):  # a manifest that lists nothing
            section["files"] = {entry["path"]: entry["sha256"] for entry in json.loads(data)["files"]}

    edit_mlmodel(folder, update)


def _with_manifest(edit: Callable[[dict[str, Any]], object], folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    edit(manifest)
    write_manifest(folder, json.dumps(manifest).encode())


def _with_manifest_text(replace: Callable[[bytes], bytes], folder: Path) -> None:
    write_manifest(folder, replace((folder / MANIFEST).read_bytes()))


def _declare(*paths: str) -> Tamper:
    """List more files, each with the size and digest of the weights."""
    return partial(_with_manifest, lambda m: m["files"].extend({**m["files"][1], "path": path} for path in paths))


def _edit_weights(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda manifest: next(e for e in manifest["files"] if e["path"] == WEIGHTS).update(changes)


def _with_other_algorithm(manifest: dict[str, Any]) -> None:
    for entry in manifest["files"]:
        entry["md5"] = entry.pop("sha256")[:32]


def _with_mlmodel(edit: Callable[[dict[str, Any]], object], folder: Path) -> None:
    edit_mlmodel(folder, edit)


def _append_to_mlmodel(data: bytes, folder: Path) -> None:
    (folder / MLMODEL).write_bytes((folder / MLMODEL).read_bytes() + data)


def _rename_in_manifest(path: str, other: str, manifest: dict[str, Any]) -> None:
    next(entry for entry in manifest["files"] if entry["path"] == path)["path"] = other


def _rename_wheel(folder: Path) -> None:
    (folder / WHEEL).rename(folder / _OTHER_WHEEL)
    _with_manifest(partial(_rename_in_manifest, WHEEL, _OTHER_WHEEL), folder)


def _declared_beside_the_wheel(name: str, folder: Path) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    shutil.copy(folder / WHEEL, folder / name)
    _declare(name)(folder)
    reseal(folder)


def _planted_in_the_wheel(folder: Path) -> None:
    """A wheel that an installer would run: a module that Python imports at its start."""
    with zipfile.ZipFile(folder / WHEEL, "a") as wheel:
        wheel.writestr("planted.pth", f"import os; os.makedirs({os.fspath(marker_of(folder))!r}, exist_ok=True)\n")
    reseal(folder)


def _write(name: str, data: bytes, folder: Path) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def _cut(folder: Path) -> None:
    os.truncate(folder / WEIGHTS, (folder / WEIGHTS).stat().st_size - 1)


def _sparse(name: str, folder: Path) -> None:
    os.truncate(folder / name, _SPARSE_BYTES)


def _link(name: str, folder: Path) -> None:
    elsewhere = folder.parent / f"{folder.name}-elsewhere-{Path(name).name}"
    (folder / name).rename(elsewhere)
    (folder / name).symlink_to(elsewhere)


def _link_folder(folder: Path) -> None:
    elsewhere = folder.parent / f"{folder.name}-elsewhere"
    elsewhere.mkdir(exist_ok=True)
    (folder / "code").symlink_to(elsewhere)


def _folders_beyond_any_path(folder: Path) -> None:
    """A chain of folders whose path is longer than any that the kernel takes."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=here)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)


def _ten_thousand_folders(folder: Path) -> None:
    for outer in range(101):
        (folder / "code" / str(outer)).mkdir(parents=True)
        for inner in range(100):
            os.mkdir(folder / "code" / str(outer) / str(inner))  # noqa: PTH102 -- in half the time of Path's


def _pipe(name: str, folder: Path) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)


def _device(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    try:
        os.mknod(folder / WEIGHTS, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero
    except PermissionError:  # only root makes devices; a socket is not a regular file either
        os.mknod(folder / WEIGHTS, stat.S_IFSOCK | 0o600)


def _folder_in_place(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()


class _Payload:
    """Unpickling it leaves a folder behind."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.makedirs, (os.fspath(self.marker),)


def marker_of(folder: Path) -> Path:
    """The folder that planted code makes when it runs."""
    return folder.parent / f"{folder.name}-code-has-run"


def _pickled_weights(folder: Path) -> None:
    _write(WEIGHTS, pickle.dumps(_Payload(marker_of(folder))), folder)
    reseal(folder)


def _planted_reader(folder: Path) -> None:
    """A reader that the manifest declares, as only a repaired manifest can."""
    _write("reader.pkl", pickle.dumps(_Payload(marker_of(folder))), folder)

    def declare(manifest: dict[str, Any]) -> None:
        manifest["files"].append({"path": "reader.pkl", "size_bytes": 0, "sha256": ""})
        major, minor, _ = platform.python_version_tuple()
        manifest["reader"] = {"python": f"{major}.{minor}", "cloudpickle": version("cloudpickle")}

    _with_manifest(declare, folder)
    reseal(folder)


def _plant_code(folder: Path) -> None:
    program = f"import os\nos.makedirs({os.fspath(marker_of(folder))!r}, exist_ok=True)\n"
    for module in ("sitecustomize", "mlflow_graphids", "graphids", "safetensors", "yaml"):
        _write(f"code/{module}.py", program.encode(), folder)
    edit_mlmodel(folder, lambda m: m["flavors"]["python_function"].update(code="code"))


def _other_loader(folder: Path) -> None:
    _write("code/planted_loader.py", f"import os\nos.makedirs({os.fspath(marker_of(folder))!r})\n".encode(), folder)
    edit_mlmodel(folder, lambda m: m["flavors"]["python_function"].update(loader_module="planted_loader", code="code"))


def _nan_weight(folder: Path) -> None:
    weights = safetensors.torch.load((folder / WEIGHTS).read_bytes())
    next(iter(weights.values())).view(-1)[0] = float("nan")
    (folder / WEIGHTS).write_bytes(safetensors.torch.save(weights))
    reseal(folder)


def _other_threshold(folder: Path) -> None:
    model = json.loads((folder / MODEL).read_text())
    (folder / MODEL).write_text(json.dumps({**model, "threshold": 2.0}))
    reseal(folder)


def _repeat_key_in_model(folder: Path) -> None:
    text = (folder / MODEL).read_text()
    (folder / MODEL).write_text(text.replace("{", '{"threshold": 2.0,', 1))
    reseal(folder)


def _resealed_profile(content: bytes, folder: Path) -> None:
    (folder / PROFILE).write_bytes(content)
    reseal(folder)


def _edited_profile(edit: Callable[[dict[str, Any]], object], folder: Path) -> None:
    """Columns changed, and every digest repaired, that in the profile's own first line too."""
    columns = safetensors.numpy.load((folder / PROFILE).read_bytes().partition(b"\n")[2])
    edit(columns)
    body = safetensors.numpy.save(columns)
    _resealed_profile(b"graphids-profile 3 %s\n%s" % (hashlib.sha256(body).hexdigest().encode(), body), folder)


def _profile_left_out(folder: Path) -> None:
    (folder / PROFILE).unlink()
    _with_manifest(lambda m: m.update(files=[entry for entry in m["files"] if entry["path"] != PROFILE]), folder)


def _raw_features(folder: Path) -> None:
    """A description of raw features and their statistics, beside a profile."""
    model = json.loads((folder / MODEL).read_text())
    raw = json.loads(to_payload(tiny_classifier())[MODEL])
    (folder / MODEL).write_text(json.dumps({**raw, "tau_norm": model["tau_norm"]}))
    (folder / WEIGHTS).write_bytes(to_payload(tiny_classifier())[WEIGHTS])
    reseal(folder)


def _infinite_threshold(folder: Path) -> None:
    text = (folder / MODEL).read_text()
    (folder / MODEL).write_text(text.replace('"threshold": 0.5', '"threshold": 1e999', 1))
    reseal(folder)


TAMPERING: dict[str, Tamper] = {
    # Files.
    "one bit of the weights flipped": lambda f: flip_bit(f / WEIGHTS, (f / WEIGHTS).stat().st_size // 2),
    "one bit of model.json flipped": lambda f: flip_bit(f / MODEL, (f / MODEL).stat().st_size // 2),
    "weights cut": _cut,
    "weights grown": lambda f: os.truncate(f / WEIGHTS, (f / WEIGHTS).stat().st_size + 1),
    "weights missing": lambda f: (f / WEIGHTS).unlink(),
    "manifest missing": lambda f: (f / MANIFEST).unlink(),
    "MLmodel missing": lambda f: (f / MLMODEL).unlink(),
    "undeclared file": partial(_write, "notes.txt", b"x"),
    "undeclared pickle": lambda f: _write("model.pkl", pickle.dumps(_Payload(marker_of(f))), f),
    "undeclared file in a folder": partial(_write, "extra/weights.safetensors", b"x"),
    "undeclared bytecode": partial(_write, "code/__pycache__/reader.cpython-311.pyc", b"x"),
    "weights a link to the right bytes": partial(_link, WEIGHTS),
    "manifest a link": partial(_link, MANIFEST),
    "MLmodel a link": partial(_link, MLMODEL),
    "a folder that is a link": _link_folder,
    "weights a pipe": partial(_pipe, WEIGHTS),
    "manifest a pipe": partial(_pipe, MANIFEST),
    "MLmodel a pipe": partial(_pipe, MLMODEL),
    "undeclared pipe": partial(_pipe, "pipe"),
    "weights a device": _device,
    "weights a folder": _folder_in_place,
    "weights sparse and oversized": partial(_sparse, WEIGHTS),
    "manifest sparse and oversized": partial(_sparse, MANIFEST),
    "MLmodel sparse and oversized": partial(_sparse, MLMODEL),
    "a file named code": partial(_write, "code", b"x"),
    "a name that forges lines of the report": partial(_write, "x\nok                 y\x1b[2K", b"x"),
    "folders deeper than any path": _folders_beyond_any_path,
    "ten thousand empty folders": _ten_thousand_folders,
    # The wheel.
    "one bit of the wheel flipped": lambda f: flip_bit(f / WHEEL, (f / WHEEL).stat().st_size // 2),
    "wheel missing": lambda f: (f / WHEEL).unlink(),
    "wheel a link to the right bytes": partial(_link, WHEEL),
    "wheel of another version": _rename_wheel,
    "second wheel": lambda f: shutil.copy(f / WHEEL, f / _OTHER_WHEEL),
    "second wheel declared": partial(_declared_beside_the_wheel, _OTHER_WHEEL),
    "wheel of another project declared": partial(_declared_beside_the_wheel, "wheels/graphids-0.1.0-py3-none-any.whl"),
    "source archive declared": partial(_declared_beside_the_wheel, "wheels/mlflow_graphids-0.2.0.tar.gz"),
    "wheel in a folder of wheels": partial(_declared_beside_the_wheel, WHEEL.replace("/", "/older/")),
    "code planted in the wheel and every digest repaired": _planted_in_the_wheel,
    # The profile.
    "one bit of the profile flipped": lambda f: flip_bit(f / PROFILE, (f / PROFILE).stat().st_size // 2),
    "profile missing": lambda f: (f / PROFILE).unlink(),
    "profile a link to the right bytes": partial(_link, PROFILE),
    "profile sparse and oversized": partial(_sparse, PROFILE),
    "profile a pickle that the manifest declares": lambda f: _resealed_profile(pickle.dumps(_Payload(marker_of(f))), f),
    "profile of another version": lambda f: _resealed_profile(
        (f / PROFILE).read_bytes().replace(b"graphids-profile 3", b"graphids-profile 9", 1), f
    ),
    "profile that does not agree with its own digest": lambda f: _resealed_profile(
        (f / PROFILE).read_bytes() + b"x", f
    ),
    "profile with a column less": partial(_edited_profile, lambda columns: columns.pop("roles")),
    "profile with IDs out of order": partial(
        _edited_profile, lambda columns: columns.update(node_key=columns["node_key"][::-1].copy())
    ),
    "profile of a network that judges raw features": _raw_features,
    "profile of another vehicle and every digest repaired": lambda f: _resealed_profile(
        profile_bytes(three_ids_profile(seed=1)), f
    ),
    "profile left out and every digest repaired": _profile_left_out,
    # Code.
    "code planted": _plant_code,
    "loader module swapped": _other_loader,
    "loader module swapped in the manifest": partial(_with_manifest, lambda m: m.update(loader_module="os")),
    "weights a pickle that the manifest declares": _pickled_weights,
    "reader planted": _planted_reader,
    "another pickle declared": _declare("model.pkl"),
    # The manifest.
    "empty manifest": partial(_with_manifest_text, lambda _: b""),
    "manifest without entries": partial(_with_manifest_text, lambda _: b"{}"),
    "manifest without files": partial(_with_manifest, lambda m: m.update(files=[])),
    "manifest not an object": partial(_with_manifest_text, lambda _: b"[]"),
    "manifest with a repeated key": partial(
        _with_manifest_text, lambda data: data.replace(b"{", b'{"loader_module": "os",', 1)
    ),
    "other digest algorithm": partial(_with_manifest, _with_other_algorithm),
    "digest of another length": partial(_with_manifest, _edit_weights(sha256="0" * 128)),
    "digest in upper case": partial(_with_manifest, _edit_weights(sha256="A" * 64)),
    "negative size": partial(_with_manifest, _edit_weights(size_bytes=-1)),
    "size that is not a number": partial(_with_manifest, _edit_weights(size_bytes=True)),
    "size beyond any model": partial(_with_manifest, _edit_weights(size_bytes=_SPARSE_BYTES)),
    "sizes beyond any model in all": partial(
        _with_manifest,
        lambda m: m["files"].extend({**m["files"][1], "path": f"code/{i}", "size_bytes": 1 << 30} for i in range(99)),
    ),
    "path out of the folder": _declare("../weights.safetensors"),
    "path out of code/": _declare("code/../../weights.safetensors"),
    "absolute path": _declare("/etc/passwd"),
    "path with a backslash": _declare("code\\weights.safetensors"),
    "path with a drive": _declare("code/C:weights.safetensors"),
    "empty path": _declare(""),
    "path that is a dot": _declare("."),
    "path with a newline": _declare("code/a\nb"),
    "names that collide in case": _declare("code/Reader.py", "code/reader.py"),
    "names that collide in Unicode": _declare("code/\u00e9.py", "code/e\u0301.py"),
    "file declared twice": _declare(WEIGHTS),
    "manifest that lists itself": _declare(MANIFEST),
    "manifest that lists MLmodel": _declare(MLMODEL),
    "manifest nested too deeply": partial(_with_manifest_text, lambda _: b"[" * 200_000),
    "manifest with a huge number": partial(_with_manifest_text, lambda _: b'{"files": ' + b"1" * 10_000 + b"}"),
    "manifest with NaN": partial(_with_manifest_text, lambda _: b'{"format_version": NaN}'),
    "manifest that is not UTF-8": partial(_with_manifest_text, lambda data: data.replace(b"files", b"f\xffles", 1)),
    "manifest in UTF-16": partial(_with_manifest_text, lambda data: data.decode().encode("utf-16")),
    "manifest of another version": partial(_with_manifest, lambda m: m.update(format_version=3)),
    "manifest with an unknown key": partial(_with_manifest, lambda m: m.update(loader="os")),
    # MLmodel.
    "signature changed": partial(_with_mlmodel, lambda m: m["signature"].update(params=None)),
    "flavor section changed": partial(_with_mlmodel, lambda m: m["flavors"]["graphids"].update(files={})),
    "another flavor added": partial(_with_mlmodel, lambda m: m["flavors"].update(sklearn={})),
    "MLmodel with a repeated key": partial(_append_to_mlmodel, b"signature: {}\n"),
    "MLmodel with an alias": partial(_append_to_mlmodel, b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"),
    "MLmodel with a merge key": partial(_append_to_mlmodel, b"z: {<<: {a: 1}}\n"),
    "MLmodel with a Python object": partial(_append_to_mlmodel, b"z: !!python/object/apply:os.getcwd []\n"),
    "MLmodel with a number in base 60": partial(_append_to_mlmodel, b"z: 1" + b":1" * 200_000 + b"\n"),
    "MLmodel with a number too large for a float": partial(_append_to_mlmodel, b"z: 1" + b":1" * 1000 + b".5\n"),
    "MLmodel with a malformed time": partial(_append_to_mlmodel, b"z: !!timestamp now\n"),
    "MLmodel with an empty number": partial(_append_to_mlmodel, b'z: !!int ""\n'),
    "MLmodel nested too deeply": partial(_append_to_mlmodel, b"z: " + b"[" * 200_000 + b"]" * 200_000),
    "MLmodel that is not UTF-8": partial(_append_to_mlmodel, b"z: \xff\n"),
    "MLmodel empty": partial(_write, MLMODEL, b""),
    # What a manifest that agrees with itself can still declare.
    "a weight that is not a number": _nan_weight,
    "model.json with a repeated key": _repeat_key_in_model,
    "model.json with an infinite number": _infinite_threshold,
    "threshold changed and every digest repaired": _other_threshold,
}  # fmt: skip

INVISIBLE_WITHOUT_ANCHOR = frozenset(
    {
        "threshold changed and every digest repaired",
        "profile of another vehicle and every digest repaired",
        "profile left out and every digest repaired",
        "reader planted",
        "code planted in the wheel and every digest repaired",
    }
)


def tampered_copy(folder: Path, tampering: str, target: Path) -> Path:
    """A tampered copy of a saved model, which itself stays whole."""
    shutil.copytree(folder, target)
    TAMPERING[tampering](target)
    return target
