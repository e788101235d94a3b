"""The circuit as a drawing: lines, boxes, dots and words, for the page and for figures alike."""

from dataclasses import dataclass, field

from sqdr.circuit import entangler_pairs
from sqdr.deploy.report.section import Section
from sqdr.specification import HeadSpec

__all__ = ["Drawing", "circuit_section", "draw_circuit"]

MAX_QUBITS, MAX_BLOCKS = 16, 4
PITCH, ROW, LEFT, TOP = 76.0, 34.0, 56.0, 26.0
BOX_WIDTH, BOX_HEIGHT = 64.0, 22.0
CZ_PITCH = 13.0


@dataclass(kw_only=True)
class Drawing:
    """Shapes in units of a pixel; y goes down.

    Args:
        width, height: of it all.
        lines: (x1, y1, x2, y2).
        boxes: (x, y, width, height, words, kind); kind is ``upload``, ``trained`` or ``measure``.
        dots: (x, y).
        words: (x, y, text).
    """

    width: float = 0.0
    height: float = 0.0
    lines: list[tuple[float, float, float, float]] = field(default_factory=list)
    boxes: list[tuple[float, float, float, float, str, str]] = field(default_factory=list)
    dots: list[tuple[float, float]] = field(default_factory=list)
    words: list[tuple[float, float, str]] = field(default_factory=list)


def draw_circuit(spec: HeadSpec) -> Drawing:
    """Return the circuit's drawing, of the first 16 qubits and 4 blocks."""
    n_qubits, n_blocks = min(spec.n_qubits, MAX_QUBITS), min(spec.n_blocks, MAX_BLOCKS)
    upload = "Rot(x)" if spec.features_per_qubit == 3 else "RY(x)"
    drawing, x = Drawing(), LEFT
    rows = [TOP + ROW * (qubit + 0.5) for qubit in range(n_qubits)]
    pairs = [pair for pair in entangler_pairs(spec.n_qubits, spec.entangler) if max(pair) < n_qubits]
    for block in range(n_blocks):
        begin = x
        for words, kind in ((upload, "upload"), (f"Rot(w{block + 1})", "trained")):
            for y in rows:
                drawing.boxes.append((x, y - BOX_HEIGHT / 2, BOX_WIDTH, BOX_HEIGHT, words, kind))
            x += PITCH
        x += CZ_PITCH / 2
        for first, second in pairs:
            drawing.lines.append((x, rows[first], x, rows[second]))
            drawing.dots += [(x, rows[first]), (x, rows[second])]
            x += CZ_PITCH
        drawing.words.append(((begin + x) / 2 - CZ_PITCH / 2, 14, f"block {block + 1}"))
        x += CZ_PITCH
    for y in rows:
        drawing.boxes.append((x, y - BOX_HEIGHT / 2, 40, BOX_HEIGHT, "<Z>", "measure"))
    for qubit, y in enumerate(rows):
        drawing.lines.append((LEFT - 12, y, x, y))
        drawing.words.append((LEFT / 2 - 4, y + 4, f"q{qubit}"))
    drawing.width, drawing.height = x + 48, rows[-1] + ROW / 2 + 8
    return drawing


def circuit_section(spec: HeadSpec | None, missing: tuple[str, ...]) -> Section:
    """Return the section."""
    name, title = "circuit", "Circuit"
    if spec is None:
        return Section(name=name, title=title, missing=missing)
    notes = []
    if spec.n_qubits > MAX_QUBITS or spec.n_blocks > MAX_BLOCKS:
        notes.append(
            f"Drawn are at most {MAX_QUBITS} qubits and {MAX_BLOCKS} blocks. circuit.qasm in the bundle has all."
        )
    n_cz = len(entangler_pairs(spec.n_qubits, spec.entangler))
    rows = [
        ("qubits", f"{spec.n_qubits:,}"),
        ("blocks", f"{spec.n_blocks:,}"),
        ("entangler", spec.entangler),
        ("CZ gates as written", f"{n_cz * spec.n_blocks:,}"),
        ("CZ gates that matter to <Z>: the last block's commute with it", f"{n_cz * (spec.n_blocks - 1):,}"),
        ("features per qubit", str(spec.features_per_qubit)),
        ("trained angles", f"{3 * spec.n_qubits * spec.n_blocks:,}"),
        ("readout", "linear, <Z> to logits" if spec.has_readout else "none: the first <Z> are the logits"),
    ]
    said = (
        f"{spec.n_blocks} blocks on {spec.n_qubits} qubits: on each qubit the uploaded rotation, then the trained one, "
        f"then CZ gates between neighbours ({spec.entangler}); each qubit is measured as <Z>."
    )
    return Section(
        name=name,
        title=title,
        content={"spec": spec, "drawing": draw_circuit(spec), "rows": rows, "said": said, "notes": notes},
        missing=missing,
    )
