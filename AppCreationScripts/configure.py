"""Register both apps of the sample in your tenant, and write the settings they need.

Run it with FlaskAPI's virtual environment. AppCreationScripts.md says what it makes and why.
"""

import argparse
import sys
from typing import Any

import requests

import graph as azure
import registrations as desired
import settings_files as files
from graph import Cloud, Graph, GraphError, Problem, SignedIn
from registrations import Registration

PERMISSION = "Application.ReadWrite.All"
CONSENT_PERMISSION = "DelegatedPermissionGrant.ReadWrite.All"


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that ``configure.py`` and ``cleanup.py`` have in common."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--tenant", default="", help="tenant (directory) ID or domain name")
    parser.add_argument(
        "--cloud",
        default="AzureCloud",
        help=f"{', '.join(azure.SAMPLE['clouds'])}, or a JSON file of addresses (%(default)s)",
    )
    parser.add_argument("--device-code", action="store_true", help="sign in on another device")
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, no more")
    return parser


def connect(options: argparse.Namespace, permissions: list[str]) -> tuple[Cloud, Graph, SignedIn]:
    """Sign in, and say where and as whom."""
    cloud = azure.cloud_named(options.cloud)
    session = cloud.session()
    signed_in, token = azure.sign_in(
        cloud, session, options.tenant, permissions, device_code=options.device_code
    )
    graph = Graph(session, cloud.graph, token, options.dry_run)
    print(f"Signed in as {signed_in.name} to tenant {_tenant(graph, signed_in)}", flush=True)
    return cloud, graph, signed_in


def _tenant(graph: Graph, signed_in: SignedIn) -> str:
    """The tenant's ID, and its name if the token allows to read that: it need not."""
    try:
        organizations = list(graph.list("/organization?$select=id,displayName"))
    except GraphError as error:
        if error.status == 403:
            return signed_in.tenant_id
        raise
    return f"{organizations[0]['displayName']} ({signed_in.tenant_id})"


def agreed(question: str, options: argparse.Namespace) -> bool:
    """Ask on the terminal, unless ``--yes`` or ``--dry-run`` has answered.

    :raises Problem: there is nobody to ask.
    """
    if options.yes or options.dry_run:
        return True
    if not sys.stdin.isatty():
        raise Problem(f"{question} Nobody is here to answer; --yes says yes.")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = arguments(__doc__)
    parser.add_argument(
        "--secret-days", type=int, default=180, help="life of the client secrets (%(default)s)"
    )
    parser.add_argument("--new-secrets", action="store_true", help="replace valid ones too")
    parser.add_argument(
        "--grant-admin-consent",
        action="store_true",
        help="consent for all users, so that nobody is asked",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    permissions = [PERMISSION] + [CONSENT_PERMISSION] * options.grant_admin_consent
    cloud, graph, signed_in = connect(options, permissions)
    Configuration(options, cloud, graph, signed_in).run()
    return 0


class Configuration:
    """One run, from looking up what exists to saying what to do next."""

    def __init__(
        self, options: argparse.Namespace, cloud: Cloud, graph: Graph, signed_in: SignedIn
    ) -> None:
        self.options, self.cloud, self.graph, self.signed_in = options, cloud, graph, signed_in
        self.note = files.read_note(signed_in.tenant_id)
        self.both = desired.registrations()
        self.api, self.ui = self.both

    def run(self) -> None:
        for registration in self.both:
            noted = str(self.note.get(registration.key, {}).get("appId", ""))
            desired.find(self.graph, registration, noted)
        self._ask()
        try:
            self._make()
        except BaseException:  # Ctrl-C too leaves something behind
            self._say_what_exists()
            raise
        self._say_what_is_next()

    def _ask(self) -> None:
        """Ask before a settings file of somebody is replaced; nothing has been changed yet."""
        replaced = [
            f"{registration.folder}/development.env"
            for registration in self.both
            if files.development_env(registration.folder).exists() and not self._fits(registration)
        ]
        if replaced:
            names = " and ".join(replaced)
            if not agreed(f"{names} will be replaced, with a backup. Go on?", self.options):
                raise Problem("Nothing was changed.")

    def _make(self) -> None:
        graph = self.graph
        for registration in self.both:
            print(registration.name)
            if registration.found:
                print(f"  exists: {registration.app_id}")
            else:
                desired.create(graph, registration)
            self._remember(registration, appId=registration.app_id)
        names = self.names
        for registration in self.both:
            print(f"{registration.name}: what belongs to it")
            desired.mend(graph, registration, names)
            registration.principal = desired.service_principal(
                graph, registration.app_id, registration.name
            )
            if self.signed_in.user_id:
                desired.own(graph, registration, self.signed_in.user_id)
        if self.options.grant_admin_consent:
            print("Consent for all users")
            for registration in self.both:
                desired.consent_for_all(graph, registration, self.both, names)
        for registration in self.both:
            print(f"{registration.folder}/development.env")
            self._write_settings(registration)
        if not graph.dry_run:
            files.write_page(self.signed_in.tenant_id, [self._row(one) for one in self.both])

    @property
    def names(self) -> dict[str, str]:
        """What stands for the ``{names}`` in ``sample.json``."""
        return {
            "login": self.cloud.login,
            "arm": self.cloud.arm,
            "tenant": self.signed_in.tenant_id,
            "api": self.api.app_id,
            "ui": self.ui.app_id,
            "access_as_user": desired.scope_id(self.api),
        }

    def _settings(self, registration: Registration, **secrets: str) -> dict[str, str]:
        described = registration.description["settings"]
        settings: dict[str, str] = desired.filled_in(described, {**self.names, **secrets})
        if self.cloud.ca_bundle:
            settings["CA_BUNDLE"] = self.cloud.ca_bundle
        return settings

    def _secrets(self, registration: Registration) -> dict[str, str]:
        """The secrets in the settings file that is there, as far as they are of use."""
        known = files.read_env(files.development_env(registration.folder))
        django_key = known.get("DJANGO_SECRET_KEY", "ReplaceWith")
        if django_key.startswith("ReplaceWith"):
            django_key = files.django_secret_key()
        secret = known.get("CLIENT_SECRET", "")
        return {"secret": secret, "django_secret_key": django_key}

    def _fits(self, registration: Registration) -> bool:
        """Whether the settings file is right as it is."""
        known = files.read_env(files.development_env(registration.folder))
        wanted = self._settings(registration, **self._secrets(registration))
        return (
            not self.options.new_secrets
            and desired.is_valid(registration, known.get("CLIENT_SECRET", ""))
            and all(known.get(key) == value for key, value in wanted.items())
        )

    def _write_settings(self, registration: Registration) -> None:
        """Make a secret if the file has no valid one, and write it at once: it is shown once."""
        if self._fits(registration):
            print("  is right")
            return
        secrets = self._secrets(registration)
        former = str(self.note[registration.key].get("keyId", ""))
        renewed = self.options.new_secrets or not desired.is_valid(registration, secrets["secret"])
        if renewed:
            made = desired.add_secret(self.graph, registration, self.options.secret_days)
            secrets["secret"] = str(made.get("secretText", ""))
            self._remember(
                registration, keyId=made.get("keyId", ""), expires=made.get("endDateTime", "")
            )
        if self.graph.dry_run:
            print(f"  would write {registration.folder}/development.env")
            return
        files.replace_env(registration.folder, self._settings(registration, **secrets))
        if renewed:
            desired.remove_secret(self.graph, registration, former)

    def _remember(self, registration: Registration, **ids: Any) -> None:
        self.note.setdefault(registration.key, {}).update(ids)
        if not self.graph.dry_run:
            files.write_note(self.signed_in.tenant_id, self.note)

    def _portal(self, registration: Registration) -> str:
        blade = "#view/Microsoft_AAD_RegisteredApps/ApplicationMenuBlade/~/Overview/appId"
        return f"{self.cloud.portal}/{blade}/{registration.app_id}"

    def _row(self, registration: Registration) -> tuple[str, str, str, str]:
        expires = str(self.note[registration.key].get("expires", ""))[:10]
        portal = self._portal(registration)
        return registration.name, registration.app_id, portal, expires or "see the portal"

    def _say_what_exists(self) -> None:
        if made := [one for one in self.both if one.found and not self.graph.dry_run]:
            print("\nThis did not come to its end. There are:")
            for registration in made:
                print(f"  {registration.name}, application ID {registration.app_id}")
            print("Run the same command again and it goes on from there, or clean up.", flush=True)

    def _say_what_is_next(self) -> None:
        if self.graph.dry_run:
            print("\nNothing was changed.")
            return
        print("\nDone. Both registrations:")
        for registration in self.both:
            print(f"  {registration.name}: {self._portal(registration)}")
        print(f"They stand in {files.PAGE.name} too. What is next:")
        print("  python3 run.py --azure     starts both apps (Entra may need a minute to catch up)")
        print(
            "  cleanup.py                 removes both, with the same --tenant and --cloud",
            flush=True,
        )


def run(script: Any) -> int:
    """Run a script's ``main``, and tell what went wrong without a traceback."""
    try:
        return int(script())
    except (Problem, requests.RequestException) as problem:
        print(f"\n{explained(problem)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


def explained(problem: Exception) -> str:
    if isinstance(problem, GraphError) and problem.status == 403:
        return (
            f"{problem}\nThe account needs the role Application Developer, Cloud Application "
            f"Administrator or a higher one; a service principal needs {PERMISSION} as an "
            f"application permission. --grant-admin-consent needs {CONSENT_PERMISSION} besides."
        )
    return str(problem)


if __name__ == "__main__":
    sys.exit(run(main))
