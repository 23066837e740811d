"""Plots as inline SVG. They carry a `<title>` for those who do not see them, and take their colours from the page.

Built as an element tree, so that every text and attribute is escaped. Horizontal places are percentages where a plot
should stretch with the page.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from markupsafe import Markup

from trueseed.report.details import Edge, KindScore, Node, Point, Validation
from trueseed.report.summary import Interval


def element(tag: str, *children: Element | str, **attributes: object) -> Element:
    """`element("text", "hi", x=3, text_anchor="end")` → `<text x="3" text-anchor="end">hi</text>`."""
    made = Element(tag, {name.rstrip("_").replace("_", "-"): str(value) for name, value in attributes.items()})
    for child in children:
        if isinstance(child, str):
            made.text = child
        else:
            made.append(child)
    return made


def svg(title: str, *children: Element, **attributes: object) -> Markup:
    """Its title is what a reader hears who does not see it."""
    drawn = element("svg", element("title", title), *children, role="img", **attributes)
    return Markup(ElementTree.tostring(drawn, encoding="unicode"))


def _percent(share: float) -> str:
    return f"{100 * min(max(share, 0.0), 1.0):.2f}%"


def whisker(interval: Interval, low: float, high: float, kind: str) -> Markup:
    """`span` of an interval, on a scale from `low` to `high`."""
    return span(interval.value, interval.low, interval.high, (low, high), kind)


def span(value: float, low: float | None, high: float | None, ends: tuple[float, float], kind: str) -> Markup:
    """A dot with its 95 % interval on a scale between two ends; a side without a bound goes to the edge, dashed. kind:
    a class, `teacher` or `student`.
    """

    def place(at: float) -> str:
        return _percent((at - ends[0]) / (ends[1] - ends[0]))

    def half(bound: float | None, edge: float) -> Element:
        style = "whisker" if bound is not None else "whisker open"
        return element("line", class_=style, x1=dot, x2=place(edge if bound is None else bound), y1=12, y2=12)

    dot = place(value)
    told = " to ".join("open" if bound is None else f"{bound:.4g}" for bound in (low, high))
    return svg(
        f"{value:.4g}, 95 % interval {told}",
        *(element("line", class_="grid", x1=_percent(i / 4), x2=_percent(i / 4), y1=0, y2=24) for i in range(5)),
        half(low, ends[0]),
        half(high, ends[1]),
        element("circle", class_="dot", cx=dot, cy=12, r=5.5),
        class_=f"track {kind}",
        height=24,
    )


def shares(parts: Mapping[str, int], kinds: Sequence[str]) -> Markup:
    """Counts beside each other on one bar, each as long as it is of all; kinds: a class of each."""
    whole, start, drawn = sum(parts.values()) or 1, 0.0, []
    for (name, n), kind in zip(parts.items(), kinds, strict=True):
        box = element("rect", class_="bar", x=_percent(start), y=3, width=_percent(n / whole), height=14)
        drawn.append(element("g", element("title", f"{name}: {n}"), box, class_=kind))
        start += n / whole
    return svg(", ".join(f"{name} {n}" for name, n in parts.items()), *drawn, class_="track", height=20)


def axis(ticks: Sequence[str]) -> Markup:
    """Evenly spaced tick labels under a column of whiskers."""
    places = [_percent(i / (len(ticks) - 1)) for i in range(len(ticks))]
    labels = (element("text", tick, x=x, y=11, text_anchor="middle") for tick, x in zip(ticks, places, strict=True))
    return svg("scale", *labels, class_="track", height=16)


def dumbbell(score: KindScore) -> Markup:
    """Teacher and student on one line from 0 to 1."""
    teacher, student = _percent(score.teacher), _percent(score.student)
    way = "gain" if score.student >= score.teacher else "loss"
    return svg(
        f"teacher {score.teacher:.0%}, student {score.student:.0%}",
        element("line", class_="grid", x1="0%", x2="100%", y1=9, y2=9),
        element("line", class_=way, x1=teacher, x2=student, y1=9, y2=9),
        element("g", element("circle", class_="dot", cx=teacher, cy=9, r=4.5), class_="teacher"),
        element("g", element("circle", class_="dot", cx=student, cy=9, r=4.5), class_="student"),
        class_="track",
        height=18,
    )


def bar(value: float, most: float, kind: str) -> Markup:
    """A bar as long as `value` is of `most`."""
    share = value / most if most else 0.0
    return svg(
        f"{value:g} of {most:g}",
        element("rect", class_="bar", x=0, y=3, width=_percent(share), height=14, rx=3),
        class_=f"track {kind}",
        height=20,
    )


def beside(low: float, high: float, actual: float, title: str) -> Markup:
    """What was expected as a line, what it came to as a dot, on a scale from 0 to the largest of them."""
    most = max(high, actual) or 1.0
    inside = low <= actual <= high
    return svg(
        title,
        element("line", class_="grid", x1="0%", x2="100%", y1=10, y2=10),
        element("line", class_="span", x1=_percent(low / most), x2=_percent(high / most), y1=10, y2=10),
        element("circle", class_="hit" if inside else "miss", cx=_percent(actual / most), cy=10, r=5),
        class_="track",
        height=20,
    )


WIDE, LEFT, RIGHT, TOP = 720, 52, 14, 10


def curve(points: Sequence[Point], validation: Validation | None = None) -> Markup:
    """Loss over steps, as measured and smoothed; the validation loss before and after as diamonds."""
    high = 210
    marks = [] if validation is None else [(0, validation.before), (points[-1].step, validation.after)]
    values = [point.loss for point in points] + [loss for _, loss in marks]
    low, most = min(values), max(values)
    across = scale(0, points[-1].step, LEFT, WIDE - RIGHT)
    down = scale(most, low, TOP, high)
    smooth = list(zip((point.step for point in points), _smoothed([point.loss for point in points]), strict=True))
    first, last = points[0], points[-1]
    return svg(
        f"training loss from {first.loss:.3f} at step {first.step} to {last.loss:.3f} at step {last.step}",
        *_rulers(low, most, down),
        *_steps(points[-1].step, across, high),
        _line([(point.step, point.loss) for point in points], across, down, "raw"),
        _line(smooth, across, down, "smooth"),
        *(_diamond(across(step), down(loss), f"validation loss {loss:.3f}") for step, loss in marks),
        viewBox=f"0 0 {WIDE} {high + 30}",
        class_="curve",
    )


def learning_rate(points: Sequence[Point]) -> Markup:
    """The learning rate over steps, as a low strip under the loss."""
    most = max(point.lr for point in points) or 1.0
    across, down = scale(0, points[-1].step, LEFT, WIDE - RIGHT), scale(most, 0.0, 6, 40)
    return svg(
        f"learning rate, at most {most:.2g}",
        element("text", f"{most:.2g}", x=LEFT - 6, y=12, text_anchor="end"),
        element("text", "0", x=LEFT - 6, y=42, text_anchor="end"),
        _line([(point.step, point.lr) for point in points], across, down, "raw"),
        viewBox=f"0 0 {WIDE} 46",
        class_="curve",
    )


def scale(start: float, end: float, first: float, last: float) -> Callable[[float], float]:
    """Where values from `start` to `end` stand between `first` and `last`."""
    span = (end - start) or 1.0
    return lambda value: round(first + (value - start) / span * (last - first), 2)


def _smoothed(values: Sequence[float]) -> list[float]:
    """Centred running mean over about a twentieth of the run."""
    reach = max(1, len(values) // 40)
    windows = (values[max(0, i - reach) : i + reach + 1] for i in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def _rulers(low: float, most: float, down: Callable[[float], float]) -> Iterator[Element]:
    for value in (low + (most - low) * i / 4 for i in range(5)):
        y = down(value)
        yield element("line", class_="grid", x1=LEFT, x2=WIDE - RIGHT, y1=y, y2=y)
        yield element("text", f"{value:.2f}", x=LEFT - 6, y=y + 4, text_anchor="end")


def _steps(last: int, across: Callable[[float], float], y: float) -> Iterator[Element]:
    for step in sorted({round(last * i / 4) for i in range(5)}):
        yield element("text", str(step), x=across(step), y=y + 20, text_anchor="middle")


def _line(
    points: Sequence[tuple[float, float]], across: Callable[[float], float], down: Callable[[float], float], kind: str
) -> Element:
    places = " ".join(f"{across(x)},{down(y)}" for x, y in points)
    return element("polyline", points=places, class_=kind)


def _diamond(x: float, y: float, title: str) -> Element:
    path = f"M{x} {y - 6}L{x + 6} {y}L{x} {y + 6}L{x - 6} {y}Z"
    return element("path", element("title", title), class_="diamond", d=path)


BOX_WIDE, BOX_HIGH, LANE_WIDE, GAP_WIDE, GAP_HIGH = 204, 46, 14, 16, 40  # of the lineage graph


def lineage(nodes: Sequence[Node], edges: Sequence[Edge]) -> Markup:
    """Sources at the top, each thing below everything it was made from."""
    edges = tuple(dict.fromkeys(edges))
    rows = _rows(nodes, edges)
    wide = max(_width(row) for row in rows) + 2
    places: dict[Slot, tuple[float, float]] = {}
    for y, row in enumerate(rows):
        x = (wide - _width(row)) / 2
        for slot in row:
            places[slot] = (x + _wide(slot) / 2, 1 + y * (BOX_HIGH + GAP_HIGH))
            x += _wide(slot) + GAP_WIDE
    labels = {node.id: node.label.replace("\n", " ") for node in nodes}
    return svg(
        "lineage: " + "; ".join(f"{labels[edge.end]} from {labels[edge.start]}" for edge in edges),
        *(_arrow([places[slot] for slot in path], edge.against) for edge, path in _paths(rows, edges)),
        *(_box(node, *places[node.id]) for node in nodes),
        viewBox=f"0 0 {wide:g} {len(rows) * (BOX_HIGH + GAP_HIGH) - GAP_HIGH + 2}",
        class_="lineage",
        style=f"width: {wide:g}px",
    )


# A row holds nodes, by id, and lanes: (which edge, which row), through which an edge passes the row.
Slot = str | tuple[int, int]


def _wide(slot: Slot) -> int:
    return BOX_WIDE if isinstance(slot, str) else LANE_WIDE


def _width(row: Sequence[Slot]) -> int:
    return sum(map(_wide, row)) + GAP_WIDE * (len(row) - 1)


def _rows(nodes: Sequence[Node], edges: Sequence[Edge]) -> list[list[Slot]]:
    """Layers, each node one below its lowest parent, ordered so that related ones stand near each other."""
    depth = _depths(nodes, edges)
    rows: list[list[Slot]] = [[] for _ in range(max(depth.values()) + 1)]
    for node in nodes:
        rows[depth[node.id]].append(node.id)
    for i, edge in enumerate(edges):
        for y in range(depth[edge.start] + 1, depth[edge.end]):
            rows[y].append((i, y))
    links = [pair for _, path in _paths(rows, edges) for pair in pairwise(path)]
    for _ in range(4):  # down and up again: each slot to the middle of its relatives in the row before
        for above, below in pairwise(rows):
            _order(below, above, [(end, start) for start, end in links])
        for below, above in pairwise(reversed(rows)):
            _order(above, below, links)
    return rows


def _depths(nodes: Sequence[Node], edges: Sequence[Edge]) -> dict[str, int]:
    depth = dict.fromkeys((node.id for node in nodes), 0)
    for _ in nodes:  # as many passes as the longest path could need; a circle ends too
        for edge in edges:
            depth[edge.end] = min(max(depth[edge.end], depth[edge.start] + 1), len(nodes) - 1)
    roots = depth.keys() - {edge.end for edge in edges}
    for root in roots:  # right above what it first goes into
        depth[root] = min((depth[edge.end] - 1 for edge in edges if edge.start == root), default=0)
    return depth


def _paths(rows: Sequence[Sequence[Slot]], edges: Sequence[Edge]) -> list[tuple[Edge, list[Slot]]]:
    lanes = [slot for row in rows for slot in row if not isinstance(slot, str)]
    return [(edge, [edge.start, *(lane for lane in lanes if lane[0] == i), edge.end]) for i, edge in enumerate(edges)]


def _order(row: list[Slot], beside: Sequence[Slot], links: Sequence[tuple[Slot, Slot]]) -> None:
    """Sorts `row` by the mean place of the slots in `beside` that each is linked to."""
    place = {slot: (i + 0.5) / len(beside) for i, slot in enumerate(beside)}
    here = {slot: (i + 0.5) / len(row) for i, slot in enumerate(row)}
    near = {slot: [place[other] for mine, other in links if mine == slot and other in place] for slot in row}
    row.sort(key=lambda slot: sum(near[slot]) / len(near[slot]) if near[slot] else here[slot])


def _box(node: Node, x: float, y: float) -> Element:
    lines = _lines(node.label)
    first = y + BOX_HIGH / 2 + 4 - 8 * (len(lines) - 1)
    return element(
        "g",
        element("title", node.label),
        element("rect", x=f"{x - BOX_WIDE / 2:g}", y=f"{y:g}", width=BOX_WIDE, height=BOX_HIGH, rx=9),
        *(
            element(
                "text", line, x=f"{x:g}", y=f"{first + 16 * i:g}", text_anchor="middle", class_="small" if i else "name"
            )
            for i, line in enumerate(lines)
        ),
        class_=f"box {node.kind}",
    )


def _lines(label: str) -> list[str]:
    """At most two that fit a box. A long source id is broken after its maker."""
    first, _, second = label.partition("\n")
    if not second and len(first) > 24 and "/" in first:
        first, _, second = first.partition("/")
    return [line if len(line) <= most else line[: most - 1] + "…" for line, most in ((first, 24), (second, 30)) if line]


def _arrow(points: Sequence[tuple[float, float]], against: bool) -> Element:
    """From the foot of the first box, down the lanes, to the head of the last."""
    (x, y), path = points[0], ""
    y += BOX_HIGH
    path = f"M{x:g} {y:g}"
    for next_x, next_y in points[1:]:
        middle = (y + next_y) / 2
        path += f"C{x:g} {middle:g} {next_x:g} {middle:g} {next_x:g} {next_y:g}"
        x, y = next_x, next_y + BOX_HIGH
        path += f"V{y:g}"
    return element("path", d=path.rpartition("V")[0], class_="arrow against" if against else "arrow")
