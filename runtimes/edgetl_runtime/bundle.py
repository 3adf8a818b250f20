"""The strict reader of bundles: a ZIP of stored members, of which every byte is accounted for.

Nothing is unpacked. Opening reads the headers and the manifest; a member is read, and its SHA-256 compared, when it
is asked for, so that a large bundle costs no memory. Python's `zipfile` is not used: it accepts comments, gaps,
several central directories and headers that contradict each other.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import re
import stat
import struct
import threading
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from edgetl_runtime import manifest as manifests
from edgetl_runtime import onnx_walk, signature
from edgetl_runtime.errors import BundleError, OutdatedError, SignatureError, unreadable
from edgetl_runtime.schema import from_json
from edgetl_runtime.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from numpy.typing import NDArray
    from typing_extensions import Self

MAX_BUNDLE_BYTES = 2**31 - 2**12  # what Linux reads in one call
MAX_MANIFEST_BYTES = 2**20
MAX_SIGNATURE_BYTES = 2**20  # 230 bytes a member and signature
MAX_MEMBERS = 4096
MAX_NAME_BYTES = 255

_MADE_BY, _PLAIN_FILE = 3 << 8 | 20, (stat.S_IFREG | 0o644) << 16  # by Unix, ZIP 2.0
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_NAME = re.compile(r"[A-Za-z0-9_.+-]+(/[A-Za-z0-9_.+-]+)*")


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """Where a member's bytes are in the file, and what its header says of them."""

    name: str
    start: int
    size: int
    crc32: int


def open_bundle(
    path: str | Path, *, trust: Sequence[signature.TrustedKey] | None = None, allow_unsigned: bool = False
) -> Bundle:
    """Open a bundle and check its structure and manifest; members' contents are checked as they are read.

    Args:
        path: Of the bundle.
        trust: Keys of which one must have signed the bundle, checked before its manifest is parsed; None asks for no
            signature.
        allow_unsigned: Take a bundle without any signature all the same; a wrong signature is refused even then.

    Raises:
        BundleError: The file is missing, damaged, altered, hostile or from a newer edgetl.
        SignatureError: No key of `trust` signed it.
    """
    file = Path(path)
    try:
        # asked before opening, which would wait forever on a named pipe
        regular = stat.S_ISREG(file.stat().st_mode)
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC) if regular else -1
    except OSError as error:
        raise unreadable(BundleError, f"bundle {path}", error, path=path) from error
    if not regular:
        raise BundleError(
            f"bundle {path}", "a regular file", "something else", fix=f"name a file of edgetl deploy; ls -ld {path}"
        )
    try:
        return Bundle(file, descriptor, trust=trust, allow_unsigned=allow_unsigned)
    except BundleError:
        os.close(descriptor)
        raise


class Bundle:
    """An open bundle; a context manager. It may be read from several threads.

    Attributes:
        path: Of the file.
        manifest: Parsed and checked.
        manifest_sha256: Of the bytes of `manifest.json`: it identifies the bundle.
        signatures: As `signature.json` lists them; empty where the bundle is not signed.
        signed_by: The trusted key that signed it; None where nobody asked.
    """

    def __init__(
        self,
        path: Path,
        descriptor: int,
        *,
        trust: Sequence[signature.TrustedKey] | None = None,
        allow_unsigned: bool = False,
    ) -> None:
        self.path = path
        self._descriptor = descriptor
        self._turn = threading.Lock()  # a descriptor that was closed while it is read may be another file's
        self._members = {m.name: m for m in _Directory(path, descriptor).members()}
        data = self._raw(self._members[manifests.MANIFEST_NAME])
        self.manifest_sha256 = hashlib.sha256(data).hexdigest()
        self.signatures = self._read_signatures()
        self.signed_by: signature.TrustedKey | None = None
        signed: dict[str, str] | None = None
        if trust is not None and (self.signatures or not allow_unsigned):
            names = [name for name in self._members if name != manifests.SIGNATURE_NAME]
            self.signed_by, signed = signature.verify_model(
                self.signatures, trust, manifest_sha256=self.manifest_sha256, names=names
            )
        self.manifest = manifests.parse(data)
        self._entries = {entry.name: entry for entry in self.manifest.files}
        self._models = {variant.files["model"] for variant in self.manifest.variants}
        self._check_against_manifest()
        if signed is not None:
            self._check_against_signature(signed)

    @property
    def digests(self) -> dict[str, str]:
        """Return what a signature covers: member → SHA-256, of every member but `signature.json`."""
        return {manifests.MANIFEST_NAME: self.manifest_sha256, **{e.name: e.sha256 for e in self.manifest.files}}

    @property
    def names(self) -> tuple[str, ...]:
        """Return the members' names in the order of the file."""
        return tuple(self._members)

    def read(self, name: str) -> bytes:
        """Return a member's bytes after comparing their SHA-256; an ONNX model is walked besides.

        What a variant calls its model is one, whatever its name; and so is what is called `.onnx`.

        Raises:
            BundleError: There is no such member, or it is damaged, altered or hostile.
        """
        entry = self._entries.get(name)
        if entry is None:
            self._refuse(f"member '{name}'", "listed in the manifest", "an unlisted one")
        data = self._raw(self._members[name])
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            self._refuse(f"member '{name}'", "as its SHA-256 in the manifest says", "other bytes")
        if name.lower().endswith(".onnx") or (name in self._models and onnx_walk.model_format(data) == "onnx"):
            onnx_walk.check(data, name=f"model '{name}'")
        return data

    def member_bytes(self, name: str) -> bytes:
        """Return any member's bytes as they are, also of the manifest and the signatures; `verify` checks all.

        Raises:
            BundleError: There is no such member.
        """
        if name not in self._members:
            self._refuse(f"member '{name}'", "in the bundle", "none")
        return self._raw(self._members[name])

    def array(self, name: str) -> NDArray[Any]:
        """Return a `.npy` member as an array of a plain dtype.

        Raises:
            BundleError: As `read`, or the bytes are not such an array.
        """
        import numpy as np

        try:
            return np.asarray(np.load(io.BytesIO(self.read(name)), allow_pickle=False))
        except BundleError:
            raise
        except (ValueError, EOFError, OSError, SyntaxError) as error:
            must = "an array without pickled objects"
            raise BundleError(f"member '{name}'", must, f"{error!s:.80}", fix="copy the bundle again") from error

    def verify(self) -> None:
        """Read every member once and compare SHA-256 and CRC.

        Raises:
            BundleError: Names the first member that is damaged, altered or hostile.
        """
        for name, member in self._members.items():
            data = self.read(name) if name in self._entries else self._raw(member)
            if zlib.crc32(data) != member.crc32:
                self._refuse(f"member '{name}'", "as its CRC says", "other bytes")

    def close(self) -> None:
        """Close the file, once a member that is being read is finished; calling twice is harmless."""
        with self._turn:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _raw(self, member: Member) -> bytes:
        with self._turn:
            return _read_at(self.path, self._descriptor, member.start, member.size)

    def _read_signatures(self) -> tuple[Any, ...]:
        data = self._raw(self._members[manifests.SIGNATURE_NAME])
        where = f"{manifests.SIGNATURE_NAME} of bundle {self.path}"
        mapping = from_json(data, where=where, error=BundleError, fix="copy the bundle again")
        found = mapping.get("signatures") if isinstance(mapping, dict) and len(mapping) == 1 else None
        if not isinstance(found, list):
            self._refuse(manifests.SIGNATURE_NAME, 'a JSON object {"signatures": [ … ]}', f"{data[:40]!r}")
        return tuple(found)

    def _check_against_manifest(self) -> None:
        listed = [manifests.MANIFEST_NAME, manifests.SIGNATURE_NAME, *(entry.name for entry in self.manifest.files)]
        found = list(self._members)
        if listed != found:
            apart = [f"'{f}' where '{n}' is listed" for n, f in zip(listed, found, strict=False) if n != f]
            got = apart[0] if apart else f"{len(found)} members where {len(listed)} are listed"
            self._refuse("the members", "those of the manifest, in its order", got)
        if not self.manifest.files:
            self._refuse("the members", "all that the manifest names", "none")
        for entry in self.manifest.files:
            if self._members[entry.name].size != entry.size:
                got = f"{self._members[entry.name].size} bytes"
                self._refuse(f"member '{entry.name}'", f"of {entry.size} bytes, as the manifest says", got)
            if not re.fullmatch("[0-9a-f]{64}", entry.sha256):
                self._refuse(f"sha256 of '{entry.name}'", "64 lower-case hexadecimal digits", f"'{entry.sha256:.70}'")
        needed = self.manifest.min_runtime
        if manifests.version_tuple(needed) > manifests.version_tuple(__version__):
            fix = "pip install -U edgetl-runtime"
            raise OutdatedError("edgetl-runtime", f"at least version {needed} for this bundle", __version__, fix=fix)

    def _check_against_signature(self, signed: dict[str, str]) -> None:
        if signed != self.digests:
            fix = "sign the bundle again"
            raise SignatureError("the signed digests", "those of the manifest", "others", fix=fix)
        key, line = self.signed_by, self.manifest.line
        if key is not None and key.lines and line not in key.lines:
            must, fix = "for product line " + " or ".join(key.lines), "sign with a key of that line"
            raise SignatureError(f"the bundle signed by key {key.id[:16]}", must, f"line '{line}'", fix=fix)

    def _refuse(self, what: str, must: str, got: str) -> NoReturn:
        raise BundleError(f"{what} of bundle {self.path}", must, got, fix="copy the bundle again")


class _Directory:
    """Parses the ZIP structure; the first thing that is not as our writer leaves it is refused."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    def members(self) -> list[Member]:
        size = os.fstat(self.descriptor).st_size
        if not _END.size <= size <= MAX_BUNDLE_BYTES:
            self.refuse("the file", f"of {_END.size} to {MAX_BUNDLE_BYTES} bytes", f"{size}")
        count, length, start = self.end_record(size)
        central = self.read(start, length)
        members: list[Member] = []
        at, expected = 0, 0
        for _ in range(count):
            member, at = self.member(central, at, expected)
            expected = member.start + member.size
            members.append(member)
            if member.name == manifests.MANIFEST_NAME and member.size > MAX_MANIFEST_BYTES:
                self.refuse(member.name, f"at most {MAX_MANIFEST_BYTES} bytes", f"{member.size}")
            if member.name == manifests.SIGNATURE_NAME and member.size > MAX_SIGNATURE_BYTES:
                self.refuse(member.name, f"at most {MAX_SIGNATURE_BYTES} bytes", f"{member.size}")
        if at != length or expected != start:
            self.refuse("the file", "members, directory and end record without gaps", "extra bytes")
        self.check_names([m.name for m in members])
        return members

    def end_record(self, size: int) -> tuple[int, int, int]:
        """Return (members, bytes of the central directory, its position)."""
        record = _END.unpack(self.read(size - _END.size, _END.size))
        signature, disk, start_disk, here, count, length, start, comment = record
        if signature != b"PK\x05\x06" or comment != 0:
            self.refuse("the file", "a ZIP that ends with its end record", "a truncated, extended or other file")
        if disk or start_disk or here != count:
            self.refuse("the ZIP", "of one part", "several")
        if 0xFFFF in (here, count) or 0xFFFFFFFF in (length, start):
            self.refuse("the ZIP", "without ZIP64", "ZIP64")
        if not 2 <= count <= MAX_MEMBERS:
            self.refuse("the number of members", f"from 2 to {MAX_MEMBERS}", f"{count}")
        if start + length + _END.size != size:
            self.refuse("the file", "members, directory and end record without gaps", "extra bytes")
        return count, length, start

    def member(self, central: bytes, at: int, expected: int) -> tuple[Member, int]:
        """Read a central header and the local one it points to; return also the next position."""
        if at + _CENTRAL.size > len(central):
            self.refuse("the ZIP directory", "complete", "a truncated one")
        fields = _CENTRAL.unpack_from(central, at)
        signature, made_by, *common = fields[:10]
        name_length, extra, comment, disk, internal, external, offset = fields[10:]
        raw_name = central[at + _CENTRAL.size : at + _CENTRAL.size + name_length]
        if signature != b"PK\x01\x02" or len(raw_name) != name_length:
            self.refuse("the ZIP directory", "complete", "a damaged one")
        name = self.check_name(raw_name)
        if extra or comment or disk or internal:
            self.refuse(f"member '{name}'", "without extra fields and comments", "some")
        if (made_by, external) != (_MADE_BY, _PLAIN_FILE):
            self.refuse(f"member '{name}'", "a regular file of mode 644", "a link, folder, device, or another mode")
        if offset != expected:
            self.refuse(f"member '{name}'", f"at byte {expected}, right after the one before", f"byte {offset}")
        self.check_header(name, common)
        local = self.read(offset, _LOCAL.size + name_length)
        if local != _LOCAL.pack(b"PK\x03\x04", *common, name_length, 0) + raw_name:
            self.refuse(f"header of member '{name}'", "as the ZIP directory says", "another one")
        crc32, size = common[5], common[6]
        member = Member(name=name, start=offset + len(local), size=size, crc32=crc32)
        return member, at + _CENTRAL.size + name_length

    def check_header(self, name: str, common: list[int]) -> None:
        _, flags, method, _, _, _, packed, size = common
        if flags & 0x1:
            self.refuse(f"member '{name}'", "not encrypted", "an encrypted one")
        if flags & 0x8:
            self.refuse(f"member '{name}'", "without a data descriptor", "one with it")
        if flags:
            self.refuse(f"member '{name}'", "without flags", f"{flags:#x}")
        if method != 0 or packed != size:
            self.refuse(f"member '{name}'", "stored, not compressed", f"method {method}")
        if size == 0xFFFFFFFF:
            self.refuse(f"member '{name}'", "without ZIP64", "ZIP64")

    def check_name(self, raw: bytes) -> str:
        name = raw.decode("ascii", "backslashreplace")
        if reason := name_fault(name):
            self.refuse(f"name '{name[:80]}'", "a plain relative one", reason)
        return name

    def check_names(self, names: list[str]) -> None:
        if tuple(names[:2]) != (manifests.MANIFEST_NAME, manifests.SIGNATURE_NAME):
            must = f"{manifests.MANIFEST_NAME} and {manifests.SIGNATURE_NAME}"
            self.refuse("the first two members", must, " and ".join(names[:2]))
        if reason := names_fault(names):
            self.refuse("the members' names", "different", reason)

    def read(self, start: int, size: int) -> bytes:
        return _read_at(self.path, self.descriptor, start, size)

    def refuse(self, what: str, must: str, got: str) -> NoReturn:
        raise BundleError(f"{what} of bundle {self.path}", must, got, fix="copy the bundle again")


def name_fault(name: str) -> str | None:
    """Return what is wrong with a member's name, None if it is a plain relative one.

    Example:
        >>> name_fault("golden/000.png"), name_fault("../x")
        (None, "a name with '..'")
    """
    if not 0 < len(name) <= MAX_NAME_BYTES:
        return f"a name of {len(name)} bytes"
    if name.startswith("/"):
        return "an absolute name"
    if not _NAME.fullmatch(name):
        return "a name with other characters than A-Z a-z 0-9 _ . + - /"
    for part in name.split("/"):
        if set(part) == {"."}:
            return f"a name with '{part}'"
    return None


def names_fault(names: list[str]) -> str | None:
    """Return what is wrong with a set of names: twins, also for disks that ignore case, or a file in a file."""
    folded = [name.casefold() for name in names]
    seen = set(folded)
    if len(seen) != len(names):
        twin = next(name for name, key in zip(names, folded, strict=True) if folded.count(key) > 1)
        return f"'{twin}' twice, but for case"
    for name, key in zip(names, folded, strict=True):
        parents = [key[:i] for i, letter in enumerate(key) if letter == "/"]
        if seen.intersection(parents):
            return f"'{name}' below a file"
    return None


def _read_at(path: Path, descriptor: int, start: int, size: int) -> bytes:
    """Read exactly `size` bytes in one piece."""
    try:
        data = os.pread(descriptor, size, start)
    except OSError as error:  # a stick pulled out, a closed bundle
        raise unreadable(BundleError, f"bundle {path}", error, path=path) from error
    if len(data) != size:
        raise BundleError(f"bundle {path}", "complete", "a truncated one", fix="copy the bundle again")
    return data
