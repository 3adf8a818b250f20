"""`edgetl keys ACTION`: key pairs, signatures, rotations, rollback permits and trust files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.cli import driver
from edgetl_runtime.errors import UsageError, unreadable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

SCHEMA = "edgetl.keys/1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="make a key pair: NAME.key (0600) and NAME.pub")
    new.add_argument("key", metavar="NAME.key", type=Path, help="file of the private key; never overwritten")
    sign = actions.add_parser("sign", help="sign an existing bundle, or attach a signature made elsewhere")
    sign.add_argument("bundle", metavar="BUNDLE", type=Path, help="the .edgetl file; its signatures are replaced")
    sign.add_argument("--key", metavar="NAME.key", type=Path, action="append", help="twice during a rotation")
    sign.add_argument("--signature", metavar="FILE", type=Path, help="made by model_signing over the unpacked bundle")
    rotate = actions.add_parser("rotate", help="let the old key vouch for a new one")
    rotate.add_argument("--old", metavar="OLD.key", type=Path, required=True, help="key that devices trust today")
    rotate.add_argument("--new", metavar="NEW.pub", type=Path, required=True, help="public key that follows it")
    rotate.add_argument("--revoke-old", action="store_true", help="devices stop trusting the old key at once")
    rotate.add_argument("--out", metavar="FILE.json", type=Path, required=True, help="the signed statement to write")
    permit = actions.add_parser("permit", help="allow one device to commit an older bundle, once")
    permit.add_argument("bundle", metavar="BUNDLE", type=Path, help="the older .edgetl file")
    permit.add_argument("--key", metavar="NAME.key", type=Path, required=True, help="key of the product line")
    permit.add_argument("--floor", type=int, required=True, help="sequence that the device has committed")
    permit.add_argument("--out", metavar="FILE.json", type=Path, required=True, help="the signed permit to write")
    trust = actions.add_parser("trust", help="write the file that tells a device whom to trust")
    trust.add_argument("keys", metavar="KEY.pub", type=Path, nargs="+", help="public keys")
    trust.add_argument("--line", action="append", help="only for this product line; may be repeated; default any")
    trust.add_argument("--out", metavar="FILE.json", type=Path, required=True, help="for: edgetl-runtime trust set")
    driver.share_options(actions.choices.values())


def run(args: argparse.Namespace) -> Mapping[str, Any]:
    """Do one action."""
    actions: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
        "new": _new, "sign": _sign, "rotate": _rotate, "permit": _permit, "trust": _trust,
    }  # fmt: skip
    return {"schema": SCHEMA, "action": args.action, **actions[args.action](args)}


def _new(args: argparse.Namespace) -> dict[str, Any]:
    from edgetl.deploy.signing import new_key

    if args.key.suffix == ".pub" or not args.key.resolve().parent.is_dir():
        raise UsageError(
            "the key file", "called NAME.key in an existing folder", str(args.key), fix="edgetl keys new line.key"
        )
    key = new_key(args.key)
    return {"key": str(args.key), "public": str(args.key.with_suffix(".pub")), "key_id": key.id}


def _sign(args: argparse.Namespace) -> dict[str, Any]:
    from edgetl.deploy.bundle_writer import attach, sign_bundle
    from edgetl.deploy.signing import load_key

    if bool(args.key) == bool(args.signature):
        raise UsageError("edgetl keys sign", "given --key or --signature", "both or neither", fix="--key line.key")
    if args.signature:
        attach(args.bundle, [_read_json(args.signature, "--signature")])
        return {"bundle": str(args.bundle), "key_ids": [], "attached": str(args.signature)}
    keys = tuple(load_key(path) for path in args.key)
    sign_bundle(args.bundle, keys)
    return {"bundle": str(args.bundle), "key_ids": [key.id for key in keys], "attached": None}


def _rotate(args: argparse.Namespace) -> dict[str, Any]:
    from edgetl.deploy.signing import load_key, rotation
    from edgetl_runtime.signature import key_id

    old, new_pem = load_key(args.old), _read_pem(args.new)
    _write_json(args.out, rotation(old, new_pem, revoke_old=args.revoke_old))
    return {"out": str(args.out), "old": old.id, "new": key_id(new_pem), "revoke_old": args.revoke_old}


def _permit(args: argparse.Namespace) -> dict[str, Any]:
    from edgetl.deploy.signing import load_key, rollback_permit
    from edgetl_runtime.bundle import open_bundle

    key = load_key(args.key)
    with open_bundle(args.bundle) as bundle:
        if bundle.manifest.sequence >= args.floor:
            got = f"sequence {bundle.manifest.sequence}"
            raise UsageError(
                "the bundle",
                f"older than the floor {args.floor}",
                got,
                fix=f"edgetl-runtime install {args.bundle}, without a permit",
            )
        _write_json(args.out, rollback_permit(key, bundle, floor=args.floor))
        line, sequence = bundle.manifest.line, bundle.manifest.sequence
    return {"out": str(args.out), "line": line, "sequence": sequence, "floor": args.floor, "key_id": key.id}


def _trust(args: argparse.Namespace) -> dict[str, Any]:
    from edgetl_runtime.schema import to_mapping
    from edgetl_runtime.signature import TrustedKey

    keys = [TrustedKey(pem=_read_pem(path), lines=tuple(args.line or ())) for path in args.keys]
    if len({key.id for key in keys}) != len(keys):
        names = " ".join(str(path) for path in args.keys)
        raise UsageError("the keys", "different", names, fix="name each key once")
    _write_json(args.out, {"schema_version": 1, "keys": [to_mapping(key) for key in keys]})
    return {"out": str(args.out), "key_ids": [key.id for key in keys], "lines": args.line or []}


def _read_pem(path: Path) -> str:
    from edgetl_runtime.signature import load_public_key, public_pem

    if not path.is_file():
        raise UsageError(f"key file {path}", "a public key file", "none", fix="edgetl keys new")
    return public_pem(load_public_key(path.read_text(encoding="utf-8", errors="replace")))


def _read_json(path: Path, option: str) -> Any:  # noqa: ANN401  (checked by who takes it)
    from edgetl_runtime.schema import from_json

    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(UsageError, f"{option} {path}", error, path=path) from error
    return from_json(data, where=f"{option} {path}", fix=f"name a file that edgetl keys wrote; head -c 200 {path}")


def _write_json(path: Path, mapping: Mapping[str, Any]) -> None:
    from edgetl.run import write_json

    if path.exists():
        raise UsageError(f"--out {path}", "a new file", "an existing one", fix="choose another name")
    write_json(path, mapping)


def show(result: Mapping[str, Any]) -> str:
    """Return what was made, and what comes next."""
    lines = {
        "new": "{key}: private, mode 0600; keep it off the devices\n{public}: key {key_id}\n"
        "on each device: edgetl-runtime trust add {public}",
        "sign": "{bundle}: signed by {key_ids}",
        "rotate": "{out}: key {old} vouches for {new}; on each device: edgetl-runtime trust rotate {out}",
        "permit": "{out}: line {line} may go back from {floor} to {sequence}, once; install with --permit {out}",
        "trust": "{out}: {key_ids}; on each device: edgetl-runtime trust set {out}",
    }
    return lines[result["action"]].format(**result)
