"""`edgetl-runtime trust ACTION`: whose signatures count on this device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.cli import driver
from edgetl_runtime.errors import UsageError, unreadable
from edgetl_runtime.install.options import add_root, device_of
from edgetl_runtime.schema import from_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("add", help="trust a public key")
    add.add_argument("file", metavar="KEY.pub", type=Path, help="made by 'edgetl keys new'; bring it a way you trust")
    add.add_argument("--line", action="append", help="only for this product line; may be repeated; default any")
    whole = actions.add_parser("set", help="replace all keys by those of a trust file")
    whole.add_argument("file", metavar="FILE.json", type=Path, help="made by 'edgetl keys trust'")
    rotate = actions.add_parser("rotate", help="trust the key that a trusted key vouches for")
    rotate.add_argument("file", metavar="FILE.json", type=Path, help="made by 'edgetl keys rotate'")
    revoke = actions.add_parser("revoke", help="refuse a key's signatures from now on")
    revoke.add_argument("key_id", metavar="ID", help="the first 8 or more digits of the key's id")
    actions.add_parser("list", help="list the keys")
    for action in actions.choices.values():
        add_root(action)
    driver.share_options(actions.choices.values())


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Change or list the keys."""
    device = device_of(args)
    store = device.trust
    if args.action == "list":
        return _result(args.action, store.keys())
    with device.locked("TRUST"):
        if args.action == "add":
            _add(args, device)
        elif args.action == "set":
            from edgetl_runtime.install.trust import parse

            store.set(parse(_read(args.file), where=str(args.file)))
        elif args.action == "rotate":
            store.rotate(from_json(_read(args.file), where=str(args.file), fix="edgetl keys rotate"))
        else:
            store.revoke(args.key_id)
        return _result(args.action, store.keys())


def _add(args: argparse.Namespace, device: Any) -> None:  # noqa: ANN401  (a Device)
    from edgetl_runtime.signature import TrustedKey, load_public_key, public_pem

    pem = public_pem(load_public_key(_read(args.file).decode(errors="replace")))
    device.trust.add(TrustedKey(pem=pem, lines=tuple(args.line or ())))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(UsageError, f"{path}", error, path=path) from error


def _result(action: str, keys: Any) -> dict[str, Any]:  # noqa: ANN401  (TrustedKeys)
    listed = [{"id": k.id, "lines": list(k.lines), "revoked": k.revoked, "origin": k.origin} for k in keys]
    return {"schema": "edgetl.trust/1", "action": action, "keys": listed}


def show(result: Mapping[str, Any]) -> str:
    """Return one line for each key."""
    if not result["keys"]:
        return "no key is trusted: only --allow-unsigned installs anything"
    lines = []
    for key in result["keys"]:
        scope = ", ".join(key["lines"]) or "any line"
        lines.append(f"{key['id']}  {'REVOKED' if key['revoked'] else 'trusted'}  {scope}  from {key['origin'][:16]}")
    return "\n".join(lines)
