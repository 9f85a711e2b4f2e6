"""Trust: what a caller and a deployment demand of a model before it is used, and what its bytes are held to.

Sources of the root digest in order of precedence: `expected_digest`, a detached signature, the param of the LoggedModel
that the URI resolves to. If several are known they must agree, so that a signed but older model does not pass for the
pinned one.
"""

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast, get_args
from urllib.parse import urlparse

from graphids._fs import IntegrityError
from graphids.options import OptionError
from mlflow_graphids.verification.anchors import Anchor, resolve_anchor
from mlflow_graphids.verification.manifest import is_digest
from mlflow_graphids.verification.signing import signed_digest

# In rising order of what they demand: intact files; a digest from outside the artifact; a signature.
Policy = Literal["integrity-only", "anchored", "signed"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
DEFAULT_POLICY: Policy = "anchored"
POLICY_VARIABLE = "GRAPHIDS_POLICY"
PUBLIC_KEY_VARIABLE = "GRAPHIDS_PUBLIC_KEY"
EXPECTED_DIGEST_VARIABLE = "GRAPHIDS_EXPECTED_DIGEST"
SIGNATURE_SUFFIX = ".sig"
EXPECTED_DIGEST = "expected_digest"  # as an anchor's origin

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trust:
    """What a model must show, from arguments and environment together.

    Attributes:
        policy: The stricter of the argument and GRAPHIDS_POLICY.
        demanded_by: Which of the two it comes from, for messages.
        expected_digest: Root digest given by the caller, or by GRAPHIDS_EXPECTED_DIGEST.
        digest_from: Which of the two gave it, for messages.
        signature: Detached signature given by the caller.
        public_key: The key that a signature is verified with.
        signature_demanded: Whether a model without a signature is refused.
    """

    policy: Policy
    demanded_by: str
    expected_digest: str | None
    digest_from: str
    signature: Path | None
    public_key: Path | None
    signature_demanded: bool

    @classmethod
    def of(
        cls,
        policy: Policy | None = None,
        expected_digest: str | None = None,
        signature: str | os.PathLike[str] | None = None,
        public_key: str | os.PathLike[str] | None = None,
    ) -> "Trust":
        """Combine arguments with the deployment's environment, which they can only make stricter.

        Raises:
            OptionError: If a value is malformed, a key is missing, or an argument would replace the deployment's key.
        """
        expected_digest, digest_from = _expected_digest(expected_digest)
        stricter, demanded_by = _stricter_policy(policy)
        key = _public_key(public_key)
        signature_demanded = stricter == "signed" or signature is not None or public_key is not None
        if signature_demanded and key is None:
            by = demanded_by if stricter == "signed" else "signature="
            raise OptionError(
                f"A signature is demanded ({by}), but no key to verify it with is known. Give the signer's public key "
                f"(--public-key, in Python public_key=), or set {PUBLIC_KEY_VARIABLE}."
            )
        return cls(
            policy=stricter,
            demanded_by=demanded_by,
            expected_digest=expected_digest,
            digest_from=digest_from,
            signature=None if signature is None else Path(signature),
            public_key=key,
            signature_demanded=signature_demanded,
        )

    @classmethod
    def of_signer(cls, policy: Policy | None, expected_digest: str | None) -> "Trust":
        """As `of`, for making a signature: there GRAPHIDS_POLICY=signed means anchored."""
        expected_digest, digest_from = _expected_digest(expected_digest)
        stricter, demanded_by = _stricter_policy(policy)
        return cls(
            policy="anchored" if stricter == "signed" else stricter,
            demanded_by=demanded_by,
            expected_digest=expected_digest,
            digest_from=digest_from,
            signature=None,
            public_key=None,
            signature_demanded=False,
        )


def deployment_policy() -> Policy | None:
    """The policy that GRAPHIDS_POLICY sets; None if it is not set.

    Raises:
        OptionError: If it is not a policy: a misspelled one must not count as none.
    """
    value = os.environ.get(POLICY_VARIABLE)
    return None if not value else _require_policy(value, POLICY_VARIABLE)


def find_anchor(model_uri: str, trust: Trust) -> Anchor:
    """What a URI's bytes must be, established before any of them is fetched.

    Raises:
        IntegrityError: If the policy demands more than can be found, a signature does not verify, or two sources of
            the digest disagree.
        MlflowException: If the run, model, version or alias does not exist.
    """
    if trust.expected_digest is not None:
        anchor = Anchor(model_uri, trust.expected_digest, trust.digest_from)
    else:
        anchor = resolve_anchor(model_uri)
    if trust.signature_demanded:
        anchor = _signed(anchor, _signature(model_uri, trust), cast(Path, trust.public_key))
    if anchor.digest is None:
        _accept_without_anchor(model_uri, anchor, trust)
    return anchor


def require_digest(text: str, name: str) -> str:
    """`text`, if it is a sha256 in hex; the OptionError otherwise calls it `name`."""
    if not is_digest(text):
        raise OptionError(f"{name} is {text!r}, expected a sha256: 64 hex digits in lower case.")
    return text


def _expected_digest(argument: str | None) -> tuple[str | None, str]:
    """The deployment's digest, or the caller's if the deployment names none, and which of the two it is."""
    configured = os.environ.get(EXPECTED_DIGEST_VARIABLE) or None
    for text, name in ((argument, "expected_digest"), (configured, EXPECTED_DIGEST_VARIABLE)):
        if text is not None:
            require_digest(text, name)
    if configured and argument not in (None, configured):
        raise IntegrityError(
            f"expected_digest is {argument}, but {EXPECTED_DIGEST_VARIABLE} is {configured}; an argument cannot "
            "replace the deployment's digest. Leave it out, or change the deployment."
        )
    return argument or configured, EXPECTED_DIGEST if argument else EXPECTED_DIGEST_VARIABLE


def _stricter_policy(argument: Policy | None) -> tuple[Policy, str]:
    requested = None if argument is None else _require_policy(argument, "policy")
    floor = deployment_policy()
    if floor is None:
        return (DEFAULT_POLICY, "the default policy") if requested is None else (requested, f"policy={requested!r}")
    if requested is None or POLICIES.index(floor) >= POLICIES.index(requested):
        return floor, f"{POLICY_VARIABLE}={floor}"
    return requested, f"policy={requested!r}"


def _require_policy(value: str, name: str) -> Policy:
    if value not in POLICIES:
        raise OptionError(f"{name} is {value!r}, expected one of {POLICIES}.")
    return value


def _public_key(argument: str | os.PathLike[str] | None) -> Path | None:
    """The deployment's key, or the caller's if the deployment names none."""
    configured = os.environ.get(PUBLIC_KEY_VARIABLE)
    if argument is None:
        return Path(configured) if configured else None
    if configured and Path(argument).resolve() != Path(configured).resolve():
        raise OptionError(
            f"public key {os.fspath(argument)!r} is not the one that {PUBLIC_KEY_VARIABLE} names, {configured!r}; "
            "an argument cannot replace the deployment's key. Leave it out, or change the deployment."
        )
    return Path(argument)


def _signature(model_uri: str, trust: Trust) -> Path:
    """The signature that the caller named, or `<folder>.sig` beside a model in a folder."""
    if trust.signature is not None:
        return trust.signature
    if not urlparse(model_uri).scheme:
        folder = Path(model_uri).absolute()
        beside = folder.with_name(f"{folder.name}{SIGNATURE_SUFFIX}")
        if beside.exists():
            return beside
    raise IntegrityError(
        f"{model_uri}: a signature is demanded ({trust.demanded_by if trust.policy == 'signed' else 'public_key='}), "
        "found none. Name it (--signature, in Python signature=), or put it beside the model's folder as "
        f"<folder>{SIGNATURE_SUFFIX}. `graphids sign` makes one."
    )


def _signed(anchor: Anchor, signature: Path, public_key: Path) -> Anchor:
    digest = signed_digest(signature, public_key)
    if anchor.digest not in (None, digest):
        raise IntegrityError(
            f"{signature}: signs the model {digest}, but {anchor.digest} is expected (from {anchor.origin}). The "
            "signature is genuine and belongs to another model, perhaps an older one; get the one for this model."
        )
    origin = f"signature {signature}"
    if anchor.digest is not None:
        is_given = anchor.origin in (EXPECTED_DIGEST, EXPECTED_DIGEST_VARIABLE)
        origin = " and ".join((anchor.origin, origin) if is_given else (origin, anchor.origin))
    return replace(anchor, digest=digest, origin=origin)


def _accept_without_anchor(model_uri: str, anchor: Anchor, trust: Trust) -> None:
    if trust.policy != "integrity-only":
        raise IntegrityError(
            f"{model_uri}: nothing outside the artifact says what its digest should be ({anchor.origin}), and "
            f"{trust.demanded_by} demands it. Give the digest that saving it returned (--expected-digest, in Python "
            "expected_digest=) or a signature (--signature and --public-key), or name the model by the URI of its "
            "LoggedModel or version. To check for damage only: --policy integrity-only, in Python "
            "policy='integrity-only'."
        )
    _logger.warning(
        "%s: no anchor (%s). The files are compared with their own manifest only. A match shows that nothing is "
        "damaged, NOT that nobody changed them.",
        model_uri,
        anchor.origin,
    )
