from django.apps import AppConfig


class GrantsConfig(AppConfig):
    name = "apps.grants"
    label = "grants"

    def ready(self) -> None:
        from apps.grants import checks  # noqa: F401, PLC0415 - registers itself; needs loaded apps
