"""``python -m tests.containers.several``: several instances of both apps in production.

Starts two instances of each app with two workers each, Redis, the mock, and a proxy that ends TLS.
Then it disturbs them while users load their pages, and prints what the users saw. Needs Docker with
Compose 2.24 or newer (or Podman: ``--engine podman``) and the ports 8000 and 8400.
"""

import contextlib
import re
import secrets
import socket
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator

import requests

from tests.containers.engine import INSTANCES, Containers, wait_until
from tests.visitor import Visitor

UI = "https://localhost:8000"
USERS = 20
LOADS = 50  # of each user
SLOW_CLIENTS = 200
CA = "/settings/caddy/pki/authorities/local/root.crt"


class User:
    """A signed-in user, and the results of loading their page."""

    def __init__(self, number: int, ca_file: str) -> None:
        self.number = number
        self.visitor = Visitor(UI)
        self.visitor.session.verify = ca_file
        self.seen: list[str] = []
        self.seconds: list[float] = []

    def sign_in(self) -> None:
        names = self.visitor.sign_in(f"user{self.number}").names
        if names != [f"Subscription of {self.number}"]:
            sys.exit(f"user{self.number} can't sign in: {self.visitor.reads}")

    def load(self) -> str:
        """Load the home page once; return whether it was this user's list, or another page."""
        begun = time.perf_counter()
        try:
            page = self.visitor.open().page
        except requests.RequestException as error:
            found = type(error).__name__
        else:
            if page.history:
                found = "a sign-in"
            elif page.status_code != 200:
                said = re.search("<h1[^>]*>(.*?)</h1>", page.text)  # none if the proxy answers
                found = f"status {page.status_code} ({said[1] if said else page.text[:80]})"
            elif self.visitor.names != [f"Subscription of {self.number}"]:
                found = "a foreign page"
            else:
                found = "ok"
        self.seconds.append(time.perf_counter() - begun)
        self.seen.append(found)
        return found


def load_times(users: list[User], times: int) -> None:
    """Make all users load their page ``times`` times, at the same time."""
    with loading(users, times):
        pass


@contextlib.contextmanager
def loading(users: list[User], times: int = sys.maxsize) -> Iterator[None]:
    """Make all users load their pages until the block ends, or each of them ``times`` times."""
    stop = threading.Event()

    def use(user: User) -> None:
        user.seen, user.seconds = [], []
        while len(user.seen) < times and not stop.is_set():
            user.load()

    threads = [threading.Thread(target=use, args=(user,)) for user in users]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        if times == sys.maxsize:
            stop.set()
        for thread in threads:
            thread.join()


class Report:
    """Prints the users' results of each part, and records whether they were as expected."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def part(self, title: str, users: list[User], allowed: int = 0, begun: float = 0) -> None:
        """Report on the last load; ``allowed`` pages may have failed, but none with a sign-in."""
        seen = Counter(found for user in users for found in user.seen)
        seconds = sorted(second for user in users for second in user.seconds)
        p50, p95 = statistics.median(seconds), seconds[int(len(seconds) * 0.95)]
        rate = f", {len(seconds) / (time.monotonic() - begun):.0f} pages/s" if begun else ""
        bad = {found: number for found, number in seen.items() if found != "ok"}
        print(
            f"{title}: {seen['ok']} pages of {len(seconds)} right{rate}, "
            f"median {p50 * 1000:.0f} ms, 95 % within {p95 * 1000:.0f} ms"
            + (f"; not right: {bad}" if bad else ""),
            flush=True,
        )
        lost = bad.get("a sign-in", 0) + bad.get("a foreign page", 0)
        self.expect(lost == 0 and sum(bad.values()) <= allowed, title)

    def expect(self, condition: object, what: str) -> None:
        if not condition:
            self.failures.append(what)
            print(f"  FAILED: {what}", flush=True)


def check_production(containers: Containers, report: Report, user: User) -> None:
    """Check the production settings from a browser's and an operator's side."""
    page = user.visitor.open().page
    report.expect("max-age=31536000" in page.headers["Strict-Transport-Security"], "HSTS")
    cookies = [
        cookie for cookie in user.visitor.session.cookies if cookie.name.startswith("__Host-")
    ]
    report.expect(cookies and all(cookie.secure for cookie in cookies), "secure cookies")
    check = 'set -a; . "$SETTINGS"; python manage.py check --deploy --fail-level DEBUG'
    said = containers.shell("djangoui", check)
    report.expect("no issues" in said, "check --deploy")
    print("Production settings: HSTS, secure cookies, check --deploy", flush=True)


def kill_instances(containers: Containers, report: Report, users: list[User]) -> None:
    killed = [containers.instances(app)[0] for app in ("djangoui", "flaskapi")]
    with loading(users):
        time.sleep(3)
        containers.run("kill", *killed)
        time.sleep(5)
    report.part("One instance of each app killed", users, allowed=len(users))
    containers.run("start", *killed)
    for instance in killed:
        containers.wait_for(instance)


def stop_redis(containers: Containers, report: Report, users: list[User]) -> None:
    containers.compose("stop", "redis")
    seen = Counter(user.load() for user in users)
    expected = len(seen) == 1 and min(seen).startswith("status 503 (This app")
    report.expect(expected, f"503 without Redis: {dict(seen)}")
    print(f"Redis stopped: {dict(seen)}", flush=True)
    containers.compose("start", "redis")
    wait_until(lambda: users[0].load() == "ok")
    load_times(users, 2)
    report.part("Redis is back", users)


def restart_all(containers: Containers, report: Report, users: list[User]) -> None:
    with loading(users):
        for instance in containers.instances("djangoui", "flaskapi"):
            containers.restart(instance)
    report.part("Every instance restarted in turn", users)


def rotate_secret_key(containers: Containers, report: Report, users: list[User]) -> None:
    """Change ``DJANGO_SECRET_KEY`` as the README says: first known everywhere, then used."""
    new = secrets.token_urlsafe(50)
    file = "/settings/DjangoUI/development.env"
    announce = f"echo DJANGO_SECRET_KEY_FALLBACKS={new} >> {file}"
    use = (
        f"old=$(sed -n s/^DJANGO_SECRET_KEY=//p {file}); "
        f"echo DJANGO_SECRET_KEY={new} >> {file}; "
        f"echo DJANGO_SECRET_KEY_FALLBACKS=$old >> {file}"
    )
    with loading(users):
        for step in (announce, use):
            containers.shell("mock-azure", step)
            for instance in containers.instances("djangoui"):
                containers.restart(instance)
    report.part("Secret key rotated", users)


def check_instances(containers: Containers, report: Report) -> None:
    """Check that every instance answered, so that users really moved between them."""
    for app in ("djangoui", "flaskapi"):
        log = containers.compose("logs", "--no-color", app)
        # A line begins with the instance's name, around which Compose may put terminal codes.
        answers = Counter(re.findall(rf"({app}-\d+)\s+\|.* status=200 ", log))
        print(f"Answers: {dict(answers)}", flush=True)
        expected = len(answers) == INSTANCES and min(answers.values()) > USERS
        report.expect(expected, f"every instance of {app} answers")


@contextlib.contextmanager
def slow_clients(ca_file: str) -> Iterator[list[ssl.SSLSocket]]:
    """Hold connections that send one byte a second: half in the headers, half in the body."""
    context = ssl.create_default_context(cafile=ca_file)
    # The web app reads the body of such a request, because its headers pass the CSRF check.
    body = "\r\n".join(
        (
            "POST /account/logout HTTP/1.1",
            "Host: localhost:8000",
            "Origin: https://localhost:8000",
            f"Cookie: __Host-subscriptions_csrf={'x' * 32}",
            "Content-Type: application/x-www-form-urlencoded",
            "Content-Length: 9999\r\n\r\n",
        )
    )
    clients = []
    for number in range(SLOW_CLIENTS):
        plain = socket.create_connection(("127.0.0.1", 8000), timeout=30)
        client = context.wrap_socket(plain, server_hostname="localhost")
        client.sendall((body if number % 2 else "GET / HTTP/1.1\r\nX-Slow: ").encode())
        clients.append(client)
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(1):
            for client in clients:
                with contextlib.suppress(OSError):
                    client.sendall(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield clients
    finally:
        stop.set()
        thread.join()
        for client in clients:
            client.close()


def trust_the_proxy(containers: Containers) -> str:
    """Let the web app trust the proxy's CA, which also serves the API; return its certificate."""
    containers.compose("up", "--detach", "--no-build", "--no-deps", "mock-azure", "redis", "proxy")
    wait_until(lambda: containers.shell("mock-azure", f"cat {CA} 2>/dev/null || true"))
    trusted = "/settings/mock-azure-ca.pem"
    wait_until(lambda: containers.shell("mock-azure", f"cat {trusted} 2>/dev/null || true"))
    containers.shell("mock-azure", f"cat {CA} >> {trusted}")
    return containers.shell("mock-azure", f"cat {CA}")


def main() -> int:
    report = Report()
    files = ("docker-compose.yml", "tests/containers/production.yml")
    with (
        Containers("on-behalf-of-several", __doc__, *files) as containers,
        tempfile.NamedTemporaryFile("w", suffix=".pem") as ca_file,
    ):
        ca_file.write(trust_the_proxy(containers))
        ca_file.flush()
        containers.start()
        users = [User(number, ca_file.name) for number in range(1, USERS + 1)]
        for user in users:
            user.sign_in()
        check_production(containers, report, users[0])

        begun = time.monotonic()
        load_times(users, LOADS)
        report.part(f"{USERS} users, {LOADS} loads each", users, begun=begun)
        kill_instances(containers, report, users)
        stop_redis(containers, report, users)
        restart_all(containers, report, users)
        rotate_secret_key(containers, report, users)
        with slow_clients(ca_file.name):
            load_times(users, LOADS // 5)
        report.part(f"{SLOW_CLIENTS} slow clients beside them", users)
        check_instances(containers, report)
    print("FAILED: " + ", ".join(report.failures) if report.failures else "All as expected.")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
