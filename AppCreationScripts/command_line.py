"""What ``configure.py`` and ``cleanup.py`` share: options, sign-in, questions, error messages."""

import argparse
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace

import graph
from graph import Cloud, Graph, ScriptError, SignedIn, sign_in

PERMISSION = "Application.ReadWrite.All"
CONSENT_PERMISSION = "DelegatedPermissionGrant.ReadWrite.All"
ADVICE = {
    "Authorization_RequestDenied": "The account needs the role Application Developer, Cloud "
    f"Application Administrator or a higher one; a service principal needs {PERMISSION} as an "
    f"application permission. --grant-admin-consent also needs {CONSENT_PERMISSION}.",
    "CredentialTypeNotAllowedAsPerAppPolicy": "A policy of your tenant blocks this kind of "
    "credential. If it blocks client secrets, use --certificate.",
    "CredentialInvalidLifetimeAsPerAppPolicy": "A policy of your tenant requires a shorter "
    "lifetime, for example --secret-days 30 or --certificate 90.",
}


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that both scripts have."""
    parser = argparse.ArgumentParser(description=description)
    add = parser.add_argument
    clouds = ", ".join(graph.SAMPLE["clouds"])
    add("--tenant", default="", help="tenant (directory) ID or domain name")
    add("--cloud", default="AzureCloud", help=f"{clouds}, or a JSON file (%(default)s)")
    add("--client-id", type=guid, help="public client to sign in with (China)")
    add("--device-code", action="store_true", help="sign in on another device")
    add("--yes", action="store_true", help="answer yes to every question")
    add("--dry-run", action="store_true", help="only print what the script would do")
    return parser


def guid(text: str) -> str:
    return str(uuid.UUID(text))


def connect(options: argparse.Namespace, permissions: list[str]) -> tuple[Cloud, Graph, SignedIn]:
    """Sign in, and print the account and the tenant."""
    cloud = graph.cloud_named(options.cloud)
    session = cloud.session()
    cloud = replace(cloud, client_id=options.client_id or cloud.client_id)
    signed_in, token = sign_in(cloud, session, options.tenant, permissions, options.device_code)
    print(f"Signed in as {signed_in.name} to tenant {signed_in.tenant_id}", flush=True)
    return cloud, Graph(session, cloud.graph, token, options.dry_run), signed_in


def confirmed(question: str, options: argparse.Namespace) -> bool:
    """Ask on the terminal, unless ``--yes`` or ``--dry-run`` is given.

    :raises ScriptError: if there is no terminal to ask on.
    """
    if options.yes or options.dry_run:
        return True
    if not sys.stdin.isatty():
        raise ScriptError(f"{question} There is no terminal to ask on. To answer yes, add --yes.")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def run(script: Callable[[], int]) -> int:
    """Run a script's ``main``; print errors with advice, without a traceback."""
    try:
        return script()
    except (ScriptError, OSError) as error:  # OSError: files, and exceptions of requests
        print(f"\n{error}\n{ADVICE.get(getattr(error, 'code', ''), '')}".rstrip(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
