from django.apps import AppConfig


class PortalConfig(AppConfig):
    name = "apps.portal"
    label = "portal"

    def ready(self) -> None:
        from apps.accounts.adminsite import portal_admin  # noqa: PLC0415 - needs loaded apps
        from apps.portal.overview import front_page  # noqa: PLC0415 - needs loaded apps

        portal_admin.front_page.append(front_page)
