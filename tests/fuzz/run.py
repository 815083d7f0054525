"""``make fuzz``: coverage-guided fuzzing of what reads octets from strangers.

Each target of ``properties`` runs for its share of the time, from the committed corpus; what it
finds worth keeping goes to ``--corpus``, what breaks a target stays as ``crash-*`` beside it and
ends the run with status 1.  Needs the package ``atheris``.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

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
        command = [sys.executable, __file__, "--one", name]
        bounds = ["-max_len=4096", "-timeout=10", "-rss_limit_mb=2048"]
        if not options.minimise:
            return subprocess.call(
                [*command, str(grown), str(COMMITTED / name),
                 f"-max_total_time={options.seconds}", "-print_final_stats=1", *bounds]
            )  # fmt: skip
        small = Path(scratch) / "small"
        small.mkdir()
        status = subprocess.call(
            [*command, "-merge=1", *bounds, str(small), str(grown), str(COMMITTED / name)]
        )
        if status == 0:
            for path in (COMMITTED / name).iterdir():
                path.unlink()
            for path in small.iterdir():
                path.rename(COMMITTED / name / path.name)
        return status


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        fuzz(sys.argv[2], sys.argv[3:])
    sys.exit(main())
