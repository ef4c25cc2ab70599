"""The bare proxy without its look at the environment on each call: the limit with ``requests``."""

from tests.benchmarks.bare_proxy import app, session

session.trust_env = False

__all__ = ["app"]
