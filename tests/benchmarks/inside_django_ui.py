"""Run in DjangoUI's environment: the processor time of one call to the API. Prints seconds."""

import os
import time
from uuid import uuid4

import django

django.setup()

from Helpers.flask_api import list_subscriptions  # noqa: E402  # needs Django set up

CALLS = int(os.environ["CALLS"])


def main() -> None:
    token = os.environ["ACCESS_TOKEN"]
    list_subscriptions(token, str(uuid4()))  # connects
    begun = time.process_time()
    for _ in range(CALLS):
        list_subscriptions(token, str(uuid4()))
    print((time.process_time() - begun) / CALLS)


main()
