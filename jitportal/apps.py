from django.apps import AppConfig


class JitportalConfig(AppConfig):
    name = "jitportal"
    label = "jitportal"
