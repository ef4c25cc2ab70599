"""Register both apps of the sample in your tenant and write the settings they need.

Run it with FlaskAPI's virtual environment. AppCreationScripts.md says what it creates and why.
"""

import re
import secrets
import sys
from argparse import ArgumentTypeError, Namespace

import credentials
import registrations
import settings_files
from command_line import CONSENT_PERMISSION, PERMISSION, arguments, confirmed, connect, guid, run
from graph import SAMPLE, Cloud, Graph, ScriptError, SignedIn
from registrations import Registration


def parse(argv: list[str] | None = None) -> Namespace:
    parser = arguments(__doc__)
    add = parser.add_argument
    add("--secret-days", type=int, default=180, help="lifetime of client secrets (%(default)s)")
    add(
        "--certificate", type=int, nargs="?", const=365, default=0, metavar="DAYS",
        help="use certificates, valid for DAYS (%(const)s), instead of secrets",
    )  # fmt: skip
    add("--new-secrets", action="store_true", help="replace valid secrets or certificates")
    add("--trust-identity", type=identity, action="append", default=[], metavar="APP=OBJECT_ID",
        help="let this user-assigned managed identity act as APP, api or ui")  # fmt: skip
    add("--redirect-uri", type=callback, action="append", default=[], metavar="URI",
        help="another https://<host>/account/callback of the web app")  # fmt: skip
    add("--adopt", type=guid, action="append", default=[], metavar="APPLICATION_ID",
        help="use this registration, which another machine created")  # fmt: skip
    add("--new", action="store_true", help="create separate registrations for this machine")
    add("--grant-admin-consent", action="store_true", help="consent for all users")
    return parser.parse_args(argv)


def identity(text: str) -> tuple[str, str]:
    """Return the registration's key and the identity's object ID; without a key, "" for both."""
    key, _, object_id = text.rpartition("=")
    if key not in ("", *SAMPLE["registrations"]):
        raise ArgumentTypeError(f"{key!r} is not an app; use api=OBJECT_ID or ui=OBJECT_ID")
    return key, guid(object_id)


def callback(uri: str) -> str:
    if not re.fullmatch(r"https://[\w.:-]+/account/callback", uri, re.ASCII):
        raise ArgumentTypeError(f"{uri!r} is not https://<host>/account/callback")
    return uri


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    permissions = [PERMISSION] + [CONSENT_PERMISSION] * options.grant_admin_consent
    cloud, graph, signed_in = connect(options, permissions)
    Configuration(options, cloud, graph, signed_in).run()
    return 0


class Configuration:
    """One run of the script, from the lookup of existing registrations to the next steps."""

    def __init__(self, options: Namespace, cloud: Cloud, graph: Graph, signed_in: SignedIn) -> None:
        self.options, self.cloud, self.graph, self.signed_in = options, cloud, graph, signed_in
        self.note = settings_files.read_note(signed_in.tenant_id)
        self.both = registrations.load()
        self.api, self.ui = self.both
        self.scope_id = ""
        uris = self.ui.description["application"]["web"]["redirectUris"]
        for uri in options.redirect_uri:
            uris += [uri, uri.replace("/account/callback", "/account/signed-out")]

    def run(self) -> None:
        options, graph = self.options, self.graph
        registrations.find(graph, self.both, self.note, options.adopt, options.new)
        self.scope_id = registrations.scope_id(self.api)
        if options.grant_admin_consent:
            registrations.refuse_foreign_access(graph, self.both, self.note, self.signed_in.user_id)
        self._confirm_replacements()
        try:
            self._apply()
        except BaseException:  # including Ctrl-C, which also leaves registrations behind
            print("\nConfiguration did not finish. Run the same command again to continue, or")
            print("cleanup.py to remove what exists.", flush=True)
            raise
        self._print_next_steps()

    def _confirm_replacements(self) -> None:
        """Ask before replacing settings files; nothing has been changed yet."""
        replaced = [
            f"{item.folder}/development.env"
            for item in self.both
            if settings_files.development_env(item.folder).exists()
            and not self._is_up_to_date(item)
        ]
        question = f"{' and '.join(replaced)} will be replaced, with a backup. Continue?"
        if replaced and not confirmed(question, self.options):
            raise ScriptError("Nothing was changed.")

    def _apply(self) -> None:
        graph = self.graph
        for registration in self.both:
            print(registration.name)
            if not registration.application:
                registrations.create(graph, registration)
            print(f"  application ID {registration.app_id}")
            self._remember(registration)
        for registration in self.both:
            print(f"{registration.name}: properties")
            self._configure(registration)
        if self.options.grant_admin_consent:
            print("Consent for all users")
            for registration in self.both:
                registrations.consent_for_all(graph, registration, self.both, self.names)
        for registration in self.both:
            print(f"{registration.folder}/development.env")
            self._write_settings(registration)
        if not graph.dry_run:
            rows = [self._row(registration) for registration in self.both]
            settings_files.write_page(self.signed_in.tenant_id, rows)

    def _configure(self, registration: Registration) -> None:
        graph, user_id = self.graph, self.signed_in.user_id
        self._remember(registration, *registrations.update(graph, registration, self.names))
        app_id, name = registration.app_id, registration.name
        registration.principal = registrations.service_principal(graph, app_id, name)
        if user_id:
            registrations.add_owner(graph, registration, user_id)
            self._remember(registration, user_id)
        issuer = f"{self.cloud.login}/{self.signed_in.tenant_id}/v2.0"
        audience = self.cloud.token_exchange
        for key, object_id in self.options.trust_identity:
            if key in ("", registration.key):
                trust = credentials.trust_identity(graph, registration, issuer, object_id, audience)
                self._remember(registration, trust)

    @property
    def names(self) -> dict[str, str]:
        """The values of the ``{names}`` in ``sample.json``."""
        return {
            "login": self.cloud.login,
            "arm": self.cloud.arm,
            "tenant": self.signed_in.tenant_id,
            "api": self.api.app_id,
            "ui": self.ui.app_id,
            "access_as_user": self.scope_id,
        }

    # --- settings ---------------------------------------------------------------------------------

    def _settings(self, registration: Registration, credential: str) -> dict[str, str]:
        """Return the app's settings; ``credential`` is a secret or the path of a certificate."""
        current = settings_files.read_env(settings_files.development_env(registration.folder))
        django_key = current.get("DJANGO_SECRET_KEY", "ReplaceWith")
        if django_key.startswith("ReplaceWith"):
            django_key = secrets.token_urlsafe(50)
        names = {**self.names, "secret": credential, "django_secret_key": django_key}
        settings = dict(registrations.filled_in(registration.description["settings"], names))
        if self.options.certificate:
            settings["CLIENT_CERTIFICATE"] = settings.pop("CLIENT_SECRET")
        logout = self.cloud.logout if registration is self.ui else ""
        optional = {"CA_BUNDLE": self.cloud.ca_bundle, "LOGOUT_URL": logout}
        return settings | {key: value for key, value in optional.items() if value}

    def _valid_credential(self, registration: Registration) -> str:
        """Return the current secret or certificate's path, or "" if a new one is needed."""
        if self.options.new_secrets or not registration.application:
            return ""
        if self.options.certificate:
            file = settings_files.certificate_file(registration.folder)
            is_valid = credentials.is_valid_certificate(self.graph, registration, file)
            return str(file) if is_valid else ""
        current = settings_files.read_env(settings_files.development_env(registration.folder))
        secret = current.get("CLIENT_SECRET", "")
        return secret if credentials.is_valid_secret(registration, secret) else ""

    def _is_up_to_date(self, registration: Registration) -> bool:
        file = settings_files.development_env(registration.folder)
        credential = self._valid_credential(registration)
        settings = self._settings(registration, credential)
        return bool(credential) and settings.items() <= settings_files.read_env(file).items()

    def _write_settings(self, registration: Registration) -> None:
        """Write the settings, with a new credential if the current one is not valid."""
        if self._is_up_to_date(registration):
            print("  is up to date")
            return
        previous = list(self.note[registration.key]["made"])
        current = self._valid_credential(registration)
        credential = current or self._new_credential(registration)
        if self.graph.dry_run:
            print(f"  would write {registration.folder}/development.env")
            return
        settings_files.replace_env(registration.folder, self._settings(registration, credential))
        if not current:
            credentials.remove_secrets(self.graph, registration, previous)

    def _new_credential(self, registration: Registration) -> str:
        """Create a secret or a certificate, and note its ID immediately."""
        graph, options = self.graph, self.options
        if options.certificate:
            made, pem = credentials.add_certificate(graph, registration, options.certificate)
            file = settings_files.certificate_file(registration.folder)
            if not graph.dry_run:
                settings_files.write_private(file, pem)
        else:
            made = credentials.add_secret(graph, registration, options.secret_days)
        self._remember(registration, made.get("keyId", ""), expires=made.get("endDateTime", ""))
        return str(file) if options.certificate else str(made.get("secretText", ""))

    # --- note and messages ------------------------------------------------------------------------

    def _remember(self, registration: Registration, *made: str, **members: str) -> None:
        """Note the registration, ``members``, and the IDs and redirect URIs that were ``made``."""
        entry = self.note.setdefault(registration.key, {})
        entry |= {"appId": registration.app_id, "isAdopted": registration.is_adopted} | members
        entry["made"] = sorted({*entry.get("made", []), *made} - {""})
        if not self.graph.dry_run:
            settings_files.write_note(self.signed_in.tenant_id, self.note)

    def _row(self, registration: Registration) -> tuple[str, str, str, str]:
        expires = str(self.note[registration.key].get("expires", ""))[:10]
        blade = "#view/Microsoft_AAD_RegisteredApps/ApplicationMenuBlade/~/Overview/appId"
        portal = f"{self.cloud.portal}/{blade}/{registration.app_id}"
        return registration.name, registration.app_id, portal, expires

    def _print_next_steps(self) -> None:
        if self.graph.dry_run:
            print("\nNothing was changed.")
            return
        print(f"\nDone. {settings_files.PAGE.name} lists both registrations. Next steps:")
        print("  python3 run.py --azure     starts both apps (Entra may need a minute to catch up)")
        print("  cleanup.py                 removes both; use the same --tenant and --cloud")
        if self.options.trust_identity:
            print("In Azure, set MANAGED_IDENTITY_CLIENT_ID to the client ID of the identity, and")
            print("neither CLIENT_SECRET nor CLIENT_CERTIFICATE.")


if __name__ == "__main__":
    sys.exit(run(main))
