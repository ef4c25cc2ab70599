#!/usr/bin/env python
"""Django's command line, with the settings module that ENVIRONMENT selects."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from Helpers.environment import settings_module


def main() -> None:
    try:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings_module())
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
