"""``make fuzz``: coverage-guided fuzzing of what reads octets from strangers.

Each target of ``properties`` runs for its share of the time, from the committed corpus; what it
finds worth keeping goes to ``--corpus``, what breaks a target stays as ``crash-*`` beside it and
ends the run with status 1.  Needs the package ``atheris``.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).parent
COMMITTED = HERE / "corpus"


def fuzz(name: str, arguments: list[str]) -> None:
    """Run one target in this process; does not return."""
    import atheris

    with atheris.instrument_imports(include=["mta"]):
        import properties

    def one(data: bytes) -> None:
        properties.PROPERTIES[name](data)

    atheris.Setup([name, *arguments], one)
    atheris.Fuzz()


def names() -> list[str]:
    """Return the targets, without importing what is to be instrumented."""
    return sorted(path.name for path in COMMITTED.iterdir() if path.is_dir())


def main() -> int:
    """Run all targets, or the one that is named."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", help=f"one of {', '.join(names())}; all by default")
    parser.add_argument("--seconds", type=int, default=30, help="for each target")
    parser.add_argument("--corpus", type=Path, help="keep what is found interesting here")
    parser.add_argument("--minimise", action="store_true", help="write the smallest corpus back")
    options = parser.parse_args()
    failed = []
    for name in options.target or names():
        if run(name, options):
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "nothing found")
    return 1 if failed else 0


def run(name: str, options: argparse.Namespace) -> int:
    """Fuzz one target in a process of its own; return its exit status."""
    with tempfile.TemporaryDirectory() as scratch:
        grown = (options.corpus or Path(scratch)) / name
        grown.mkdir(parents=True, exist_ok=True)
        print(f"== {name}", flush=True)
        if options.minimise:
            return minimise(name, COMMITTED / name, grown)
        return subprocess.call(
            [sys.executable, __file__, "--one", name, str(grown), str(COMMITTED / name),
             f"-max_total_time={options.seconds}", "-print_final_stats=1", "-max_len=4096",
             "-timeout=10", "-rss_limit_mb=2048"]
        )  # fmt: skip


def minimise(name: str, committed: Path, grown: Path) -> int:
    """Keep of both what leads through the code in some new way, the shortest first."""
    import properties

    found = {path.read_bytes() for place in (committed, grown) for path in place.iterdir()}
    seen: set[tuple[str, int, int]] = set()
    kept = []
    for data in sorted(found, key=lambda one: (len(one), one)):
        ways = steps(properties.PROPERTIES[name], data)
        if not ways <= seen:
            seen |= ways
            kept.append(data)
    for path in committed.iterdir():
        path.unlink()
    for data in kept:
        (committed / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)
    print(f"{len(kept)} of {len(found)} kept")
    return 0


def steps(target: Callable[[bytes], None], data: bytes) -> set[tuple[str, int, int]]:
    """Return which lines of ours followed which when ``target`` took ``data``."""
    ways: set[tuple[str, int, int]] = set()

    def enter(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        name = frame.f_code.co_filename
        if "/mta/" not in name:
            return None
        last = 0

        def step(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
            nonlocal last
            ways.add((name, last, frame.f_lineno))
            last = frame.f_lineno
            return step

        return step

    sys.settrace(enter)
    try:
        target(data)
    finally:
        sys.settrace(None)
    return ways


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        fuzz(sys.argv[2], sys.argv[3:])
    sys.exit(main())
