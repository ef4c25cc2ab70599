from django.apps import AppConfig


class AccountConfig(AppConfig):
    name = "Account"

    def ready(self) -> None:
        from Account import checks  # noqa: F401  # registers them
