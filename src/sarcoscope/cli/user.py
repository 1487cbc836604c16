"""``sarcoscope user``: users of the platform, from the computer that it runs on."""

from __future__ import annotations

from typing import Annotated

import typer

from sarcoscope.cli.console import tell
from sarcoscope.cli.store_options import DatabaseOption, DataOption, opened_store
from sarcoscope.errors import NotFoundError

app = typer.Typer(help="Users of the platform.", no_args_is_help=True)


@app.command("list")
def list_command(data: DataOption = None, database: DatabaseOption = None) -> None:
    """List the users."""
    from sqlalchemy import select

    from sarcoscope.store.tables import User

    with opened_store(data, database) as store, store.database.reading() as session:
        for user in session.scalars(select(User).order_by(User.name)):
            marks = [
                m for m, holds in (("administrator", user.administrator), ("off", not user.active)) if holds
            ]
            typer.echo(f"{user.name:<20}{user.full_name:<30}{', '.join(marks)}")


@app.command("reset")
def reset_command(
    name: Annotated[str, typer.Argument(help="Name of the user.")],
    data: DataOption = None,
    database: DatabaseOption = None,
) -> None:
    """Give a user a new one-time password and lift a lock (for an administrator who is locked out)."""
    from sqlalchemy import select

    from sarcoscope.store.accounts import renew_password
    from sarcoscope.store.tables import Audit, User

    with opened_store(data, database) as store, store.database.writing() as session:
        user = session.scalar(select(User).where(User.name == name))
        if user is None:
            raise NotFoundError(f"There is no user '{name}'.")
        user.active = True
        password = renew_password(session, user)
        session.add(Audit(user_name="command line", action="reset_password", target=name))
    tell(f"Sign in as '{name}' with the one-time password {password}")
