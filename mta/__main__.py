"""The ``mta`` command: ``python -m mta``, and the console script.

The commands are those of ``mta.admin``; only the demonstration is added here, because it
builds the whole service, which stands above ``mta.admin``.
"""

import click

from mta.admin.cli import cli


@cli.command()
@click.option("--keep", is_flag=True, help="Stay up afterwards, for messages of your own.")
@click.option("--colour/--no-colour", default=None, help="[default: on a terminal]")
def demo(keep: bool, colour: bool | None) -> int:
    """Show the relay at work on loopback, beside a small stand-in for the world."""
    from mta.demo.play import run  # noqa: PLC0415 - brings the reactor along

    return run(keep, colour)


def main() -> None:
    """Run one command and leave the process with its status."""
    cli(prog_name="mta")


if __name__ == "__main__":
    main()
