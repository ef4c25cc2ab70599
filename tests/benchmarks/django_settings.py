"""DjangoUI's settings for development, but the page that production serves: without the lesson."""

from UI.development_settings import *  # noqa: F403  # as every settings module does

ENVIRONMENT = "production"
