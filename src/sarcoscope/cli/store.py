"""``sarcoscope store``: check, back up, restore, and how much room studies need."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.cli.console import progress_shown, tell
from sarcoscope.cli.store_options import DatabaseOption, DataOption, opened_store

app = typer.Typer(
    help="The platform's data: check, backup, restore, room, corrections.", no_args_is_help=True
)


@app.command("check")
def check_command(
    data: DataOption = None,
    database: DatabaseOption = None,
    remove_unnamed: Annotated[
        bool, typer.Option("--remove-unnamed", help="Remove files that nothing names (left by a crash).")
    ] = False,
) -> None:
    """Compare every stored file with its checksum and the tables (exit code 1: not sound)."""
    from sarcoscope.store.upkeep import check_store

    with opened_store(data, database) as store, progress_shown(False) as progress:
        found = check_store(store, progress, remove_unnamed=remove_unnamed)
    typer.echo(f"{found.files} files, {found.bytes / 1e9:.2f} GB read and compared.")
    typer.echo(
        f"missing {len(found.missing)}, damaged {len(found.damaged)}, without a name {len(found.unnamed)}"
    )
    if found.volumes_forgotten:
        typer.echo(f"damaged volumes taken out of the viewer's cache {found.volumes_forgotten}")
    for kind, names in (("missing", found.missing), ("damaged", found.damaged)):
        for name in names[:20]:
            typer.echo(f"{kind} {name}")
    if not found.sound:
        tell("Restore the missing and damaged files from a backup.")
        raise typer.Exit(1)


@app.command("backup")
def backup_command(
    out: Annotated[Path, typer.Argument(help="Archive to write (.tar).")],
    data: DataOption = None,
    database: DatabaseOption = None,
) -> None:
    """Write database, files and mappings into one archive; the server may go on meanwhile."""
    from sarcoscope.store.upkeep import backup_store

    with opened_store(data, database) as store, progress_shown(False) as progress:
        manifest = backup_store(store, out, progress)
    tell(f"{out}: {len(manifest['files'])} files. The keys of the mappings are not in it: keep them apart.")


@app.command("restore")
def restore_command(
    archive: Annotated[Path, typer.Argument(help="Archive of 'store backup'.")],
    data: DataOption = None,
    database: DatabaseOption = None,
) -> None:
    """Fill an empty store from a backup; every file is compared with its checksum."""
    from sarcoscope.store.upkeep import restore_store

    with opened_store(data, database) as store, progress_shown(False) as progress:
        restore_store(archive, store, progress)
    tell("Restored. Put the keys of the mappings (mapping/*.key) back beside them.")


@app.command("room")
def room_command(
    studies: Annotated[int, typer.Argument(help="How many studies are to come.")],
    data: DataOption = None,
    database: DatabaseOption = None,
) -> None:
    """How much disk and time so many studies will need."""
    from sarcoscope.store.upkeep import room_for

    with opened_store(data, database) as store:
        found = room_for(store, studies)
        free = shutil.disk_usage(store.data).free
    basis = f"{found.known_studies} studies of this store" if found.known_studies else "typical figures"
    typer.echo(f"{studies} studies: {found.disk_bytes / 1e9:.1f} GB of disk ({free / 1e9:.1f} GB are free)")
    typer.echo(f"{found.seconds_one_worker / 3600:.1f} hours with one worker (from {basis})")


@app.command("corrections")
def corrections_command(
    out: Annotated[Path, typer.Argument(help="Folder to write manifest.csv, images and masks into.")],
    project: Annotated[str | None, typer.Option("--project", help="Only this project (its code).")] = None,
    data: DataOption = None,
    database: DatabaseOption = None,
) -> None:
    """Write accepted studies with corrected masks as training data for 'sarcoscope train'."""
    from sarcoscope.store.training_set import write_training_set

    with opened_store(data, database) as store, progress_shown(False) as progress:
        said = write_training_set(store, out, project, progress)
    masks = len(said["masks"])
    typer.echo(
        f"{masks} masks (digest {said['digest'][:12]}): sarcoscope train RECIPE --data {out}/manifest.csv"
    )
