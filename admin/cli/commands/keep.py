"""Commands that keep a stack going: put right, clear away, save and bring back."""

from __future__ import annotations

from pathlib import Path

import click

from admin.cli import extras
from admin.cli.commands import options

_PATH = click.Path(dir_okay=False, path_type=Path)
_PASSPHRASE = click.option(
    "--passphrase-file",
    metavar="FILE",
    type=_PATH,
    envvar="KARST_BACKUP_PASSPHRASE_FILE",
    help="File with the passphrase (KARST_BACKUP_PASSPHRASE_FILE); it is asked for otherwise.",
)


@click.command()
@options.JSON
@options.WAIT
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.argument("services", nargs=-1, shell_complete=extras.complete_service)
@click.pass_obj
def heal(stack: str | None, as_json: bool, wait: float, dry_run: bool, services: tuple[str, ...]) -> int:
    """Restart, in order, what is broken; renew what has expired; remove what is left over."""
    from admin.cli import heal as healing

    return healing.heal(options.resolve(stack), services, dry_run=dry_run, as_json=as_json, wait=wait)


@click.command()
@options.JSON
@options.WAIT
@click.option(
    "--keep", type=click.IntRange(1), default=5, show_default=True, help="Generations of each service to keep."
)
@click.option(
    "--unused-for", "unused", type=click.FloatRange(0), default=7, show_default=True, help="Days for cache entries."
)
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@click.pass_obj
def prune(stack: str | None, as_json: bool, wait: float, keep: int, unused: float, dry_run: bool) -> int:
    """Remove images that no rollback needs, and what in the cache nobody has used for long."""
    from admin.cli.prune import run

    return run(options.resolve(stack), keep=keep, unused=unused, dry_run=dry_run, as_json=as_json, wait=wait)


@click.command()
@options.list_file
@_PASSPHRASE
@options.WAIT
@click.argument("path", required=False, metavar="[FILE]", type=_PATH)
@click.pass_obj
def backup(
    stack: str | None, /, list_file: str | None, passphrase_file: Path | None, wait: float, path: Path | None
) -> int:
    """Write the stack's state, keys, list and histories into one encrypted file (docs/production.md)."""
    from admin.cli.backup import back_up

    return back_up(options.resolve(stack, list_file=list_file), path, passphrase_file, wait=wait)


@click.command()
@options.list_file
@_PASSPHRASE
@options.WAIT
@click.option("--secrets-dir", metavar="DIR", help="Folder of CA and identities (KARST_SECRETS_DIR).")
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice(["secrets", "list", "state", "history", "sources", "dotenv"]),
    help="Only this, and no deploy; may be repeated.",
)
@click.option("--overwrite", is_flag=True, help="Replace files that are there and differ.")
@click.option("--no-deploy", is_flag=True, help="Only put the files and the state back.")
@click.argument("path", metavar="FILE", type=_PATH)
@click.pass_obj
def restore(
    stack: str | None,
    /,
    list_file: str | None,
    passphrase_file: Path | None,
    wait: float,
    secrets_dir: str | None,
    parts: tuple[str, ...],
    overwrite: bool,
    no_deploy: bool,
    path: Path,
) -> int:
    """Put back what `iac backup` wrote, and deploy it: the same revisions with the same identities."""
    from admin.cli.backup import restore as put_back

    given = {"stack": stack, "list_file": list_file, "secrets_dir": secrets_dir}
    return put_back(
        path, passphrase_file, parts=parts, overwrite=overwrite, deploy=not no_deploy, given=given, wait=wait
    )


COMMANDS = (heal, prune, backup, restore)
