from importlib import import_module

from django.apps import AppConfig, apps
from django.utils.module_loading import module_has_submodule


class JitportalConfig(AppConfig):
    name = "jitportal"
    label = "jitportal"

    def ready(self) -> None:
        """Load our own admin modules only: those of libraries would show rows that verbs of ours look after."""
        for config in apps.get_app_configs():
            if config.name.startswith("apps.") and module_has_submodule(config.module, "admin"):
                import_module(f"{config.name}.admin")
