from django.apps import AppConfig
from django.db.models.signals import post_migrate


class CatalogConfig(AppConfig):
    name = "apps.catalog"
    label = "catalog"

    def ready(self) -> None:
        from apps.catalog.data_classes import ensure_defaults  # noqa: PLC0415 - models come first

        post_migrate.connect(ensure_defaults, sender=self, dispatch_uid="catalog.data_classes")
