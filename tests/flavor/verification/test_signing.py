"""Signatures: made and checked offline with a key, kept apart from the model, and no way around a pinned digest."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from graphids.commands import cli
from graphids.core.classifier import WindowClassifier
from graphids.options import OptionError
from mlflow_graphids import IntegrityError, load_model, log_model, save_model, sign_model, verify_model
from support.damage import flip_bit
from support.tampering import TAMPERING

pytest.importorskip("model_signing", reason="needs the extra sign")
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

Saved = tuple[Path, str]


def key_pair(folder: Path, name: str, password: str | None = None) -> tuple[Path, Path]:
    """PEM files of a new private key and its public key."""
    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    encryption = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    private, public = folder / f"{name}.private.pem", folder / f"{name}.public.pem"
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return key_pair(tmp_path / "keys", "signer")


@pytest.fixture
def signature(saved: Saved, keys: tuple[Path, Path]) -> Path:
    return sign_model(saved[0], keys[0], expected_digest=saved[1])[0]


def test_a_signature_lies_beside_the_model_and_anchors_it(
    saved: Saved, keys: tuple[Path, Path], signature: Path
) -> None:
    folder, digest = saved
    assert signature == folder.with_name("saved.sig")

    loaded = load_model(folder, public_key=keys[1])

    assert (loaded.digest, loaded.anchored) == (digest, True)
    assert verify_model(folder, policy="signed", public_key=keys[1], expected_digest=digest) == digest


def test_the_library_alone_verifies_the_same_signature(saved: Saved, keys: tuple[Path, Path], signature: Path) -> None:
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(saved[0]), "--ignore_unsigned_files"]
    arguments = ["--signature", str(signature), "--public_key", str(keys[1])]

    assert subprocess.run([*command, *arguments], capture_output=True, check=False).returncode == 0


def test_the_library_alone_refuses_a_changed_model(saved: Saved, keys: tuple[Path, Path], signature: Path) -> None:
    from model_signing import verifying

    def verify() -> None:
        config = verifying.Config().set_ignore_unsigned_files(True)
        config.use_elliptic_key_verifier(public_key=keys[1]).verify(saved[0], signature)

    verify()
    TAMPERING["one bit of the weights flipped"](saved[0])
    with pytest.raises(ValueError, match=r"weights\.safetensors"):
        verify()


@pytest.mark.parametrize("tampering", ["one bit of the weights flipped", "threshold changed and every digest repaired"])
def test_a_changed_model_does_not_pass_for_the_signed_one(
    saved: Saved, keys: tuple[Path, Path], signature: Path, tampering: str
) -> None:
    TAMPERING[tampering](saved[0])

    with pytest.raises(IntegrityError, match=rf"(from signature {signature}|weights.safetensors: expected sha256)"):
        load_model(saved[0], signature=signature, public_key=keys[1])


def test_another_key_is_refused(saved: Saved, signature: Path, tmp_path: Path) -> None:
    _, stranger = key_pair(tmp_path / "keys", "stranger")

    with pytest.raises(IntegrityError, match=r"saved\.sig: is not a valid signature by the key .*stranger"):
        load_model(saved[0], signature=signature, public_key=stranger)


def test_a_signed_older_model_is_refused_where_a_digest_is_pinned(
    classifier: WindowClassifier, saved: Saved, keys: tuple[Path, Path], signature: Path, tmp_path: Path
) -> None:
    """Replay: the older model and its signature are genuine, and put in the place of the newer one."""
    newer = save_model(replace(classifier, threshold=0.9), tmp_path / "newer")

    assert load_model(saved[0], public_key=keys[1]).threshold == 0.5
    with pytest.raises(IntegrityError, match=rf"signs the model {saved[1]}, but {newer} is expected .*an older one"):
        load_model(saved[0], expected_digest=newer, signature=signature, public_key=keys[1])


@pytest.mark.usefixtures("store")
def test_a_signed_older_model_is_refused_where_the_registry_anchors_a_newer_one(
    classifier: WindowClassifier, saved: Saved, keys: tuple[Path, Path], signature: Path
) -> None:
    newer = log_model(replace(classifier, threshold=0.9))

    with pytest.raises(IntegrityError, match=rf"signs the model {saved[1]}.*LoggedModel {newer.model_id}"):
        load_model(newer.model_uri, signature=signature, public_key=keys[1])


@pytest.mark.usefixtures("store")
def test_a_logged_model_is_signed_by_its_uri_and_verifies_by_every_other(
    classifier: WindowClassifier, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    logged = log_model(classifier, registered_model_name="signed-model")

    path, digest = sign_model(logged.model_uri, keys[0], tmp_path / "release.sig")

    assert path == tmp_path / "release.sig"
    assert verify_model("models:/signed-model/1", policy="signed", signature=path, public_key=keys[1]) == digest


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"{}"),
        lambda path: path.write_bytes(b"[" * 100_000),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_text(path.read_text().replace('"payload":"ew', '"payload":"fw')),
        lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), "dsseEnvelope": None})),
        lambda path: path.unlink(),
    ],
)
def test_a_damaged_signature_is_refused(saved: Saved, keys: tuple[Path, Path], signature: Path, damage) -> None:  # type: ignore[no-untyped-def]
    damage(signature)

    with pytest.raises(IntegrityError, match=r"saved\.sig: (is not a valid signature|there is no such file)"):
        load_model(saved[0], signature=signature, public_key=keys[1])


def test_a_genuine_signature_of_something_else_is_refused(
    saved: Saved, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    from model_signing import signing

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "weights.bin").write_bytes(b"x")
    config = signing.Config().use_elliptic_key_signer(private_key=keys[0])  # type: ignore[no-untyped-call]
    config.sign(tmp_path / "other", tmp_path / "other.sig")

    with pytest.raises(IntegrityError, match=r"is genuine, but names no sha256 of manifest\.json"):
        load_model(saved[0], signature=tmp_path / "other.sig", public_key=keys[1])


def test_only_a_model_that_verifies_is_signed(saved: Saved, keys: tuple[Path, Path]) -> None:
    with pytest.raises(IntegrityError, match="nothing outside the artifact says"):
        sign_model(saved[0], keys[0])
    TAMPERING["weights cut"](saved[0])
    with pytest.raises(IntegrityError, match=r"weights\.safetensors: expected"):
        sign_model(saved[0], keys[0], expected_digest=saved[1])

    assert not saved[0].with_name("saved.sig").exists()


def test_a_signature_may_not_lie_in_the_model(saved: Saved, keys: tuple[Path, Path]) -> None:
    with pytest.raises(OptionError, match="lies in the model, where it would be an undeclared file"):
        sign_model(saved[0], keys[0], saved[0] / "model.sig", expected_digest=saved[1])
    with pytest.raises(OptionError, match="lies in the model"):
        sign_model(saved[0], keys[0], keys[0].parent / ".." / "saved" / "model.sig", expected_digest=saved[1])


def test_an_encrypted_key_takes_its_password_from_the_environment(
    saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = key_pair(tmp_path / "keys", "locked", password="secret")

    with pytest.raises(OptionError, match=r"if it is encrypted, its password in GRAPHIDS_SIGNING_PASSWORD"):
        sign_model(saved[0], private, expected_digest=saved[1])
    monkeypatch.setenv("GRAPHIDS_SIGNING_PASSWORD", "secret")
    sign_model(saved[0], private, expected_digest=saved[1])

    assert load_model(saved[0], public_key=public).anchored


@pytest.mark.parametrize("content", [None, b"", b"not a key"])
def test_a_file_that_is_not_a_key_is_wrong_use(
    saved: Saved, signature: Path, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "bad.pem").write_bytes(content)

    with pytest.raises(OptionError, match=r"bad\.pem: expected the PEM"):
        sign_model(saved[0], tmp_path / "bad.pem", tmp_path / "new.sig", expected_digest=saved[1])
    with pytest.raises(OptionError, match=r"bad\.pem: expected the PEM"):
        load_model(saved[0], signature=signature, public_key=tmp_path / "bad.pem")


def test_without_the_library_the_message_says_what_to_install(
    saved: Saved, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)

    with pytest.raises(ModuleNotFoundError, match=r"pip install 'model-signing>=1\.1\.1,<1\.2' pyOpenSSL"):
        sign_model(saved[0], keys[0], expected_digest=saved[1])


def test_a_signature_never_replaces_a_file(saved: Saved, keys: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

    for name in ("file", "link"):
        with pytest.raises(OptionError, match=f"{name}: exists already, and a signature never replaces a file"):
            sign_model(saved[0], keys[0], tmp_path / name, expected_digest=saved[1])

    assert (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


def test_the_commands_sign_and_verify(
    saved: Saved, keys: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder, digest = saved
    cli.main(["sign", str(folder), "--key", str(keys[0]), "--expected-digest", digest, "--output", f"{tmp_path}/m.sig"])
    assert f"signature of {folder}, graphids.digest {digest}" in capsys.readouterr().out

    cli.main(["verify", str(folder), "--public-key", str(keys[1]), "--signature", f"{tmp_path}/m.sig"])
    assert f"anchor: {digest} from signature {tmp_path}/m.sig" in capsys.readouterr().out

    shutil.copytree(folder, tmp_path / "copy")
    flip_bit(tmp_path / "copy" / "model.json", 10)
    with pytest.raises(SystemExit, match="3"):
        cli.main(["verify", f"{tmp_path}/copy", "--public-key", str(keys[1]), "--signature", f"{tmp_path}/m.sig"])
