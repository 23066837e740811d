"""What a person sees on a terminal while a run works: one line per step with rate and time left, and the scores.

Without a terminal, plain lines, one every few seconds.
"""

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

PLAIN_EVERY_S = 10.0


class Screen:
    """Shows progress. Called as `Workspace.report`: step, done, total, unit, note."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._ended: set[str] = set()
        self._done: dict[str, int] = {}
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}  {task.fields[rate]}  {task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> "Screen":
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)

    def __call__(self, step: str, done: int, total: int, unit: str, note: str) -> None:
        name, now = f"{step} {unit}", time.monotonic()
        if done < self._done.get(name, 0):  # another run on the same screen
            self._started[name] = now
            self._ended.discard(name)
        self._done[name] = done
        started = self._started.setdefault(name, now)
        rate = _rate(done, total, now - started)
        if not self._console.is_terminal:
            ends = done >= total and name not in self._ended
            if ends or (done < total and now - self._told.get(name, started) > PLAIN_EVERY_S):
                self._told[name] = now
                self._ended |= {name} if ends else set()
                self._console.print(f"{step}: {done}/{total} {unit}  {rate}  {note}".rstrip(), markup=False)
            return
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(step, total=total, unit=unit, rate="", note="")
        self._progress.update(self._bars[name], completed=done, total=total, rate=rate, note=note)


def _rate(done: int, total: int, seconds: float) -> str:
    if seconds < 1.0 or not done:
        return ""
    left = (total - done) * seconds / done
    return f"{done / seconds:.1f}/s, {int(left // 60)}:{int(left % 60):02d} left"


def scores(report: dict[str, Any]) -> Table:
    """Teacher, or base where nobody taught, beside student, from `report.json`."""
    table = Table(
        "",
        "base" if report["imports"] and not report["teachers"] else "teacher",
        "student",
        "difference",
        "95 % interval",
        box=None,
    )
    for name, label, scale in (
        ("held_out_prompts", "held-out prompts, % right", 100),
        ("held_out_kinds", "held-out kinds, % right", 100),
        ("chat_perplexity", "chat perplexity", 1),
    ):
        teacher, student, difference = (report["scores"][side][name] for side in ("teacher", "student", "difference"))
        if teacher is None:
            table.add_row(label, "–", "–", "–", "not measured: the teacher's weights are not here")
            continue
        table.add_row(
            label,
            f"{teacher['value'] * scale:.2f}",
            f"{student['value'] * scale:.2f}",
            f"{difference['value'] * scale:+.2f}",
            f"{difference['low'] * scale:+.2f} … {difference['high'] * scale:+.2f}",
        )
    return table
