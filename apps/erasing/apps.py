from django.apps import AppConfig


class ErasingConfig(AppConfig):
    name = "apps.erasing"
    label = "erasing"
