"""A record as people read it: ``python -m tools.card.report card.json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.card.goals import goals

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CONTENDERS = ("torchvision fp16 (op alone)", "torchvision fp32 (op alone)", "deformops fp16 (op alone)")


def table(record: Mapping[str, Any]) -> str:
    """The whole record, on a screen or two."""
    return "\n".join(_lines(record))


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    machine = record["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine.get("versions", {}).items())
    yield f"{machine.get('device', 'a machine of which nothing is known')}, driver {machine.get('driver', '-')}"
    yield f"{versions}; {record['made']}{', REHEARSAL: no figure means anything' if record['rehearsal'] else ''}"
    yield ""
    for part in record["parts"]:
        yield f"{part['name']:10} {part['status']:12} {part['seconds']:6.1f} s of {part['limit']:5.0f}  {_short(part)}"
    figures = {part["name"]: part["figures"] for part in record["parts"]}
    for name, lines in _TABLES.items():
        if made := list(lines(figures.get(name, {}))):
            yield ""
            yield from made
    if not record["rehearsal"] and (found := list(goals(figures))):
        yield ""
        yield from map(str, found)
    yield f"\n{record.get('seconds', 0):.0f} s in all, of which {record['prepared_seconds']:.0f} s to prepare"


def _short(part: Mapping[str, Any]) -> str:
    """What a part comes to, or why it does not."""
    figures = part["figures"]
    if part["name"] == "tests" and figures:
        names = "".join(f"\n    {name}" for name in figures["failed"][:20])
        return f"{figures['passed']} passed, {len(figures['failed'])} failed, {figures['skipped']} skipped{names}"
    return str(part["what"])


def _kernels(figures: Mapping[str, Any]) -> Iterator[str]:
    """A line for each case: ours, in multiples of its floor; the others, in multiples of ours."""
    if not figures:
        return
    copy, product = figures["copy_bytes_per_second"] / 1e12, figures["gemm_flops_per_second"] / 1e12
    yield f"copy {copy:.2f} TB/s, product {product:.0f} TFLOP/s"
    yield f"{'kernel':42} {'us':>8} {'/floor':>7} {'error':>8}   others / ours"
    cases: dict[str, list[Any]] = {}
    for row in figures["rows"]:
        cases.setdefault(row["case"], []).append(row)
    for case, rows in cases.items():
        ours, *others = rows
        if ours["microseconds"] is None:
            yield f"{case:42} {ours['failure']}"
            continue
        floors = ours["microseconds"] / ours["floor_microseconds"]
        error = f"{ours['error']:8.1e}" if ours["error"] is not None else f"{'':8}"
        against = ", ".join(filter(None, map(_other, others)))
        yield f"{case:42} {ours['microseconds']:8.1f} {floors:7.2f} {error}   {against}"
    if shares := figures["convolutions"]:
        yield "cuDNN's share of the product's rate: " + ", ".join(
            f"{name} {share:.2f}" for name, share in shares.items()
        )
    if left := figures.get("left_out"):
        yield "left out for time: " + ", ".join(f"{count} of {name}" for name, count in left.items())
    if gather := figures["gather"]:
        yield "gather: " + ", ".join(f"{name} {time:.1f} us" for name, time in gather.items())


def _other(row: Mapping[str, Any]) -> str:
    """A peer by its short name; of the deformable convolution only those that goals name."""
    if row["case"].startswith("dcn") and row["contender"] not in _CONTENDERS:
        return ""
    name = row["contender"].removesuffix(" (op alone)")
    if row["microseconds"] is None:
        return f"{name}: {row['failure'][:60]}"
    return f"{name} {row['ratio_to_ours']:.2f}" if row["ratio_to_ours"] is not None else name


def _stages(figures: Mapping[str, Any]) -> Iterator[str]:
    rows = figures.get("rows", [])
    if rows:
        yield f"{'network, backend':32} {'ms/frame':>9} {'graph':>8}   by stage (eager), the slowest kernels"
    for row in rows:
        head = f"{row['network'] + ', ' + row['backend']:32}"
        if "failure" in row:
            yield f"{head} {row['failure'][:120]}"
            continue
        graph = row.get("graph_milliseconds")
        stages = ", ".join(f"{name} {stage['milliseconds']:.2f}" for name, stage in row["stages"].items())
        yield f"{head} {row['milliseconds']:9.2f} {f'{graph:8.2f}' if graph else f'{chr(45):>8}'}   {stages}"
        for kernel in row["kernels"][:5]:
            yield f"    {kernel['milliseconds']:8.3f} ms in {kernel['calls']:g} calls: {kernel['name'][:64]}"


def _peers(figures: Mapping[str, Any]) -> Iterator[str]:
    for name, milliseconds in figures.get("network", {}).items():
        yield f"network, {name:28} {milliseconds:9.2f} ms a frame"


def _pipe(figures: Mapping[str, Any]) -> Iterator[str]:
    for film in figures.get("films", []):
        if "failure" in film:
            yield f"pipe, {film['film']}: {film['failure'][:200]}"
        else:
            rate, first = film["frames_per_second"], film["first_frame_seconds"]
            yield f"pipe, {film['film']:18} {rate:8.2f} frames a second, the first after {first} s ({film['program']})"


def _precision(figures: Mapping[str, Any]) -> Iterator[str]:
    if figures:
        yield (
            f"{figures['precision']} against fp32: {figures['psnr_lowest']} dB at the lowest, "
            f"{figures['psnr_mean']} dB on average ({figures['count']} frames, {figures['frames']})"
        )


_TABLES = {"kernels": _kernels, "stages": _stages, "peers": _peers, "pipe": _pipe, "precision": _precision}


def main() -> int:
    """Print a record's table."""
    print(table(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
