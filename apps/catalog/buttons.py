"""Buttons on the admin's page of one row."""

from collections.abc import Callable
from typing import Any, ClassVar, cast

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse

from apps.accounts.adminsite import PortalModelAdmin
from apps.core.errors import PortalError

Button = Callable[[HttpRequest, str], HttpResponse | str]


class ButtonsAdmin(PortalModelAdmin):
    """Buttons on the page of one row: each is a POST that calls a verb.

    A button answers with a response, or with a sentence to show on the row's page.
    """

    change_form_template = "admin/catalog/buttons.html"
    buttons: ClassVar[dict[str, str]] = {}  # name of the method -> what stands on the button

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(
                f"<path:object_id>/{name}/",
                self.admin_site.admin_view(self._pressed(name)),
                name=f"{self.opts.app_label}_{self.opts.model_name}_{name}",
            )
            for name in self.buttons
        ]
        return own + super().get_urls()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        buttons = [
            (reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}", args=[object_id]), label)
            for name, label in self.buttons.items()
        ]
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "buttons": buttons})

    def _pressed(self, name: str) -> Callable[[HttpRequest, str], HttpResponse]:
        def view(request: HttpRequest, object_id: str) -> HttpResponse:
            if request.method != "POST":
                return HttpResponseNotAllowed(["POST"])
            back = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[object_id])
            if self.get_object(request, unquote(object_id)) is None:
                raise Http404(f"There is no such {self.opts.verbose_name}.")
            try:
                answer = cast("Button", getattr(self, name))(request, unquote(object_id))
            except PortalError as refusal:
                self.message_user(request, refusal.sentence, messages.ERROR)
                return HttpResponseRedirect(back)
            if isinstance(answer, HttpResponse):
                return answer
            self.message_user(request, answer, messages.SUCCESS)
            return HttpResponseRedirect(back)

        return view
