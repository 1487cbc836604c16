"""The ``sarcoscope`` command: mounts one module a command and turns errors into sentences and exit codes.

Exit codes: 0 done; 2 an input, a setting or a mapping that cannot be used; 1 anything else. The user
never sees a traceback unless ``--debug`` asks for it.
"""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from sarcoscope import __version__
from sarcoscope.cli import (
    analyze,
    batch,
    bundle,
    cohort,
    deidentify,
    demo,
    explain,
    levels,
    link,
    mapping,
    masks,
    models,
    pull,
    receive,
    reference,
    restore,
    sample,
    send,
    serve,
    store,
    train,
    user,
    validate,
    work,
)
from sarcoscope.cli.console import tell
from sarcoscope.errors import PermanentError, SarcoscopeError

app = typer.Typer(
    name="sarcoscope",
    help="Muscle and fat from CT, level by level, with the doubts. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("analyze")(analyze.analyze_command)
app.command("batch")(batch.batch_command)
app.command("levels")(levels.levels_command)
app.command("explain")(explain.explain_command)
app.command("deidentify")(deidentify.deidentify_command)
app.command("link")(link.link_command)
app.command("receive")(receive.receive_command)
app.command("send")(send.send_command)
app.command("pull")(pull.pull_command)
app.command("restore")(restore.restore_command)
app.command("masks")(masks.masks_command)
app.command("demo")(demo.demo_command)
app.command("serve")(serve.serve_command)
app.command("work")(work.work_command)
app.command("train")(train.train_command)
app.add_typer(validate.app, name="validate")
app.add_typer(store.app, name="store")
app.add_typer(user.app, name="user")
app.add_typer(bundle.app, name="bundle")
app.add_typer(mapping.app, name="mapping")
app.add_typer(models.app, name="models")
app.add_typer(sample.app, name="sample")
app.add_typer(reference.app, name="reference")
app.add_typer(cohort.app, name="cohort")


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"sarcoscope {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Muscle and fat from CT, level by level, with the doubts. Research use only: not a medical device."""


def main() -> None:
    """Run the command line."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
        logging.basicConfig(level=logging.DEBUG)
    try:
        app()
    except SarcoscopeError as error:
        if debug:
            raise
        tell(str(error))
        raise SystemExit(2 if isinstance(error, PermanentError) else 1) from None
    except KeyboardInterrupt:
        tell("Stopped.")
        raise SystemExit(130) from None
    except BrokenPipeError:
        raise SystemExit(1) from None
    except Exception as error:
        if debug:
            raise
        tell(
            f"A fault in Sarcoscope stopped the work ({type(error).__name__}). "
            "Run again with --debug and report what it prints."
        )
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
