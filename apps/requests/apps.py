from django.apps import AppConfig


class RequestsConfig(AppConfig):
    name = "apps.requests"
    # The HTTP library `requests` is a dependency of single sign-on; the label keeps the two apart.
    label = "access_requests"
    verbose_name = "Access requests"
