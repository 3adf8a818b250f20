"""A bounded walk over the bytes of an ONNX model, before any vendor's parser sees them.

The device has no `onnx` package. The walk knows the field numbers of onnx.proto3, visits every occurrence of every
field (a parser merges repeated ones), and refuses external data, operators outside the allow-list of domains,
training graphs, unknown fields, deep nesting and lengths beyond the buffer. Tensors' contents are skipped.

References:
    https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
    https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NoReturn

from edgetl_runtime.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ALLOWED_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
REFUSED_OPERATORS = frozenset({"EPContext"})  # loads a vendor's binary, from a file of its choice
MAX_DEPTH = 24  # of messages; an `If` inside a `Loop` inside an `If` needs 11
MAX_FIELDS = 2_000_000
MAX_VARINT_BYTES = 10
MODEL_GRAPH, GRAPH_NODE, GRAPH_OUTPUT = 7, 1, 12  # numbers of fields
FLOAT = 1  # number of an element type

# Message → field number → what it is: "" is skipped, a message's name is walked, "@…" is checked, "!…" is refused.
MESSAGES: dict[str, dict[int, str]] = {
    "ModelProto": {
        **dict.fromkeys((1, 2, 3, 4, 5, 6, 14, 26), ""),
        7: "GraphProto",
        8: "OperatorSetIdProto",
        20: "!training graphs",
        25: "FunctionProto",
    },
    "OperatorSetIdProto": {1: "@domain", 2: ""},
    "GraphProto": {
        **dict.fromkeys((2, 10, 11, 12, 13, 14, 16), ""),
        1: "NodeProto",
        5: "TensorProto",
        15: "SparseTensorProto",
    },
    "NodeProto": {**dict.fromkeys((1, 2, 3, 6, 8, 9, 10), ""), 4: "@operator", 5: "AttributeProto", 7: "@domain"},
    "AttributeProto": {
        **dict.fromkeys((1, 2, 3, 4, 7, 8, 9, 13, 14, 15, 20, 21), ""),
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "TensorProto": {
        **dict.fromkeys((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16), ""),
        13: "!external data",
        14: "@location",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto", 3: ""},
    "FunctionProto": {
        **dict.fromkeys((1, 4, 5, 6, 8, 12, 13, 14), ""),
        7: "NodeProto",
        9: "OperatorSetIdProto",
        10: "@domain",
        11: "AttributeProto",
    },
}

Shape = tuple["int | str | None", ...]
_Field = tuple[int, int, int, int]  # number, wire type, start, end (of the payload; of the varint itself)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What the walk learnt.

    Attributes:
        inputs: Name → shape; a symbolic dimension is its name, an unknown one None. Without initializers' names only
            if the model lists them apart, as ours do.
        outputs: Name → shape.
        opset: Version of the default domain, 0 if none is imported.
        operators: Type → count, over all graphs.
    """

    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
    opset: int
    operators: dict[str, int]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One output as a graph declares it: its element type by onnx.proto3's number, and its shape as in `ModelFacts`."""

    element_type: int
    shape: Shape


def check(data: bytes, *, name: str) -> ModelFacts:
    """Walk a serialized ModelProto.

    Args:
        data: The file's bytes.
        name: Of the member, for messages.

    Raises:
        BundleError: The bytes are not a plain, self-contained ONNX model.
    """
    walk = _Walk(data, name)
    # other formats that a vendor's loader would recognise by these four bytes, whatever we read in them
    if data[4:8] in (b"ORTM", b"TFL3") or data[:1] != b"\x08":
        walk.refuse("an ONNX model", "bytes that are not one")
    walk.message("ModelProto", 0, len(data), depth=0)
    return walk.facts()


def model_format(data: bytes) -> str:
    """Return which of the formats that backends name a model is in, judged by its bytes alone.

    Returns:
        `json` where the bytes begin as a JSON object, which no ONNX model does; else `onnx`.

    Example:
        >>> model_format(b'{"classes": 2}'), model_format(b"")
        ('json', 'onnx')
    """
    return "json" if data[:1] == b"{" else "onnx"


def outputs(data: bytes, *, name: str) -> dict[str, Output]:
    """Return the declared outputs of a serialized ModelProto; nothing else of it is looked at.

    Raises:
        BundleError: As `check`, as far as the bytes are looked at.
    """
    walk = _Walk(data, name)
    found = [
        walk.output(at, stop)
        for graph in walk.inside(0, len(data), MODEL_GRAPH)
        for at, stop in walk.inside(*graph, GRAPH_OUTPUT)
    ]
    return dict(found)


def with_outputs(data: bytes, names: Sequence[str], *, name: str) -> bytes:
    """Return a model of these outputs alone, without the nodes that only others need.

    Args:
        data: A serialized ModelProto; given back as it is if it has no other outputs.
        names: All of them outputs of the model.
        name: Of the model, for messages.

    Raises:
        BundleError: The model lacks one of them, or is not one.
    """
    declared = list(outputs(data, name=name))
    walk = _Walk(data, name)
    missing = [wanted for wanted in names if wanted not in declared]
    if missing:
        walk.refuse(f"one with the output {missing[0]}", ", ".join(declared) or "no outputs")
    if len(declared) == len(names):
        return data
    parts, at = [], 0
    for number, wire, start, end in walk.fields(0, len(data)):
        if number == MODEL_GRAPH and wire == 2:
            graph = walk.without_outputs(start, end, keep=names)
            parts += [bytes([MODEL_GRAPH << 3 | 2]), _varint(len(graph)), graph]
        else:
            parts.append(data[at:end])
        at = end
    return b"".join(parts)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


class _Walk:
    """One walk: the buffer, what is counted, what was learnt."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        self.fields_left = MAX_FIELDS
        self.graphs: list[tuple[int, int]] = []  # main graph; a parser merges several
        self.opset = 0
        self.operators: dict[str, int] = {}

    def refuse(self, must: str, got: str) -> NoReturn:
        raise BundleError(self.name, must, got, fix="export it again with edgetl")

    def message(self, kind: str, start: int, end: int, *, depth: int) -> None:
        if depth > MAX_DEPTH:
            self.refuse(f"nested at most {MAX_DEPTH} messages deep", "a deeper graph")
        fields = MESSAGES[kind]
        for number, wire, at, stop in self.fields(start, end):
            what = fields.get(number)
            if what == "":
                continue
            if what is None:
                self.refuse("made of known ONNX fields", f"field {number} in {kind}")
            if what[0] == "!":
                self.refuse(f"without {what[1:]}", f"some in {kind}")
            if what[0] == "@":
                self.checked(what, wire, at, stop)
                continue
            if wire != 2:
                self.refuse("a well-formed ONNX model", f"{what} with wire type {wire}")
            if kind == "ModelProto" and what == "GraphProto":
                self.graphs.append((at, stop))
            if kind == "ModelProto" and what == "OperatorSetIdProto":
                self.note_opset(at, stop)
            self.message(what, at, stop, depth=depth + 1)

    def checked(self, what: str, wire: int, at: int, stop: int) -> None:
        if what == "@location":
            if wire != 0 or self.varint(at)[0] != 0:
                self.refuse("without external data", "a tensor stored elsewhere")
            return
        if wire != 2:
            self.refuse("a well-formed ONNX model", f"{what[1:]} with wire type {wire}")
        word = self.text(at, stop)
        if what == "@domain" and word not in ALLOWED_DOMAINS:
            self.refuse("made of operators of the allowed domains", f"the domain '{word:.60}'")
        if what == "@operator":
            if word in REFUSED_OPERATORS:
                self.refuse("made of plain operators", f"the operator {word}")
            self.operators[word] = self.operators.get(word, 0) + 1

    def note_opset(self, start: int, end: int) -> None:
        domain, version = "", 0
        for number, wire, at, stop in self.fields(start, end):
            if number == 1 and wire == 2:
                domain = self.text(at, stop)
            elif number == 2 and wire == 0:
                version = self.varint(at)[0]
        if domain in ("", "ai.onnx"):
            self.opset = version

    def fields(self, start: int, end: int) -> Iterator[_Field]:
        """Yield the fields between `start` and `end`; nothing may reach beyond `end`."""
        at = start
        data = self.data
        while at < end:
            self.fields_left -= 1
            if self.fields_left < 0:
                self.refuse(f"of at most {MAX_FIELDS} fields", "more")
            tag = data[at]
            if tag < 0x80:  # nearly all tags and lengths are one byte: not worth a call, of which there are thousands
                at += 1
            else:
                tag, at = self.varint(at)
            number, wire = tag >> 3, tag & 7
            if number == 0 or number >= 1 << 29:
                self.refuse("a well-formed ONNX model", f"field number {number}")
            begin = at
            if wire == 2:
                if at < end and data[at] < 0x80:
                    begin = at + 1
                    at = begin + data[at]
                else:
                    length, begin = self.varint(at)
                    at = begin + length
            elif wire == 0:
                at = self.varint(at)[1]
            elif wire == 1:
                at += 8
            elif wire == 5:
                at += 4
            else:
                self.refuse("a well-formed ONNX model", f"wire type {wire}")
            if at > end:
                self.refuse("a complete ONNX model", "a field that reaches beyond its end")
            yield number, wire, begin, at

    def varint(self, at: int) -> tuple[int, int]:
        """Return (value, position after it)."""
        data = self.data
        value = 0
        shift = 0
        while at < len(data) and shift < 7 * MAX_VARINT_BYTES:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7
        return self.refuse("a well-formed ONNX model", "a number that is cut off or too long")

    def text(self, at: int, stop: int) -> str:
        try:
            return self.data[at:stop].decode()
        except UnicodeDecodeError:
            self.refuse("a well-formed ONNX model", "a name that is not UTF-8")

    def facts(self) -> ModelFacts:
        if len(self.graphs) != 1:
            self.refuse("an ONNX model with one graph", f"{len(self.graphs)} of them")
        values: dict[int, dict[str, Shape]] = {11: {}, 12: {}}
        for number, wire, at, stop in self.fields(*self.graphs[0]):
            if number in values and wire == 2:
                name, shape = self.value_info(at, stop)
                values[number][name] = shape
        return ModelFacts(inputs=values[11], outputs=values[12], opset=self.opset, operators=self.operators)

    def value_info(self, start: int, end: int) -> tuple[str, Shape]:
        """Read a ValueInfoProto: name = 1; type = 2 { tensor_type = 1 { shape = 2 { dim = 1 } } }."""
        name = ""
        dims: list[int | str | None] = []
        for number, wire, at, stop in self.fields(start, end):
            if number == 1 and wire == 2:
                name = self.text(at, stop)
            elif number == 2 and wire == 2:
                for tensor in self.inside(at, stop, 1):
                    for shape in self.inside(*tensor, 2):
                        dims += [self.dimension(*dim) for dim in self.inside(*shape, 1)]
        return name, tuple(dims)

    def output(self, start: int, end: int) -> tuple[str, Output]:
        """Read a ValueInfoProto with its tensor's element type, which is field 1 beside the shape."""
        name, shape = self.value_info(start, end)
        element_type = 0
        for kind in self.inside(start, end, 2):
            for tensor in self.inside(*kind, 1):
                for number, wire, at, _ in self.fields(*tensor):
                    if number == 1 and wire == 0:
                        element_type = self.varint(at)[0]
        return name, Output(element_type=element_type, shape=shape)

    def without_outputs(self, start: int, end: int, *, keep: Sequence[str]) -> bytes:
        """Return a GraphProto's bytes without its other outputs, and without the nodes that only they need."""
        live, dropped = set(keep), set()
        for node in reversed(self.inside(start, end, GRAPH_NODE)):  # sorted: what reads a tensor comes after it
            reads, writes = self.names_of(*node)
            if writes & live:
                live |= reads
            else:
                dropped.add(node[0])
        parts, at = [], start
        for number, wire, begin, stop in self.fields(start, end):
            other = number == GRAPH_OUTPUT and wire == 2 and self.value_info(begin, stop)[0] not in keep
            if not other and begin not in dropped:
                parts.append(self.data[at:stop])
            at = stop
        return b"".join(parts)

    def names_of(self, start: int, end: int) -> tuple[set[str], set[str]]:
        """Return the tensors that a NodeProto reads, in the graphs inside it too, and those that it writes."""
        reads = {self.text(*at) for at in self.inside(start, end, 1)}
        for attribute in self.inside(start, end, 5):
            for graph in (*self.inside(*attribute, 6), *self.inside(*attribute, 11)):
                reads |= {self.value_info(*at)[0] for at in self.inside(*graph, GRAPH_OUTPUT)}
                for node in self.inside(*graph, GRAPH_NODE):
                    reads |= self.names_of(*node)[0]
        return reads, {self.text(*at) for at in self.inside(start, end, 2)}

    def inside(self, start: int, end: int, wanted: int) -> list[tuple[int, int]]:
        return [(at, stop) for number, wire, at, stop in self.fields(start, end) if number == wanted and wire == 2]

    def dimension(self, start: int, end: int) -> int | str | None:
        for number, wire, at, stop in self.fields(start, end):
            if number == 1 and wire == 0:
                return self.varint(at)[0]
            if number == 2 and wire == 2:
                return self.text(at, stop)
        return None
