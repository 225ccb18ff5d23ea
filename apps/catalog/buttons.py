"""Buttons and further pages on the admin's page of one row."""

from collections.abc import Callable
from typing import Any, ClassVar, cast

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from apps.accounts.adminsite import PortalModelAdmin
from apps.core.errors import PortalError

Button = Callable[[HttpRequest, str], HttpResponse | str]
Page = Callable[[HttpRequest, Any], HttpResponse]


def refused(form: forms.Form, refusal: PortalError) -> None:
    """Show why a verb refused, beside the field that it was about."""
    form.add_error(refusal.field if refusal.field in form.fields else None, refusal.sentence)


class ButtonsAdmin(PortalModelAdmin):
    """Buttons on the page of one row: each is a POST that calls a verb. And links to further pages about the row.

    A button answers with a response, or with a sentence to show on the row's page. A page answers with a response.
    """

    change_form_template = "admin/catalog/buttons.html"
    buttons: ClassVar[dict[str, str]] = {}  # name of the method -> what stands on the button
    pages: ClassVar[dict[str, str]] = {}  # name of the method -> what stands on the link

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(
                f"<path:object_id>/{name}/",
                self.admin_site.admin_view(view),
                name=f"{self.opts.app_label}_{self.opts.model_name}_{name}",
            )
            for name, view in [
                *((name, self._pressed(name)) for name in self.buttons),
                *((name, self._opened(name)) for name in self.pages),
            ]
        ]
        return own + super().get_urls()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        tools = {
            "buttons": [(self.address(name, object_id), label) for name, label in self.buttons_on(object_id).items()],
            "pages": [(self.address(name, object_id), label) for name, label in self.pages_on(object_id).items()],
        }
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **tools})

    def buttons_on(self, object_id: str) -> dict[str, str]:
        """Those of `buttons` that are of use on the page of this row."""
        return self.buttons

    def pages_on(self, object_id: str) -> dict[str, str]:
        """`pages` with what their links say on the page of this row."""
        return self.pages

    def address(self, name: str, object_id: Any) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}", args=[object_id])

    def show_page(self, request: HttpRequest, row: Any, template: str, **context: Any) -> TemplateResponse:
        """A page about one row; its title says what is done there."""
        about = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "row": row,
            "back": self.address("change", row.pk),
        }
        return TemplateResponse(request, f"admin/catalog/{template}", {**about, **context})

    def done(self, request: HttpRequest, back: str, sentence: str) -> HttpResponseRedirect:
        self.message_user(request, sentence, messages.SUCCESS)
        return HttpResponseRedirect(back)

    def _opened(self, name: str) -> Callable[[HttpRequest, str], HttpResponse]:
        def view(request: HttpRequest, object_id: str) -> HttpResponse:
            row = self.get_object(request, unquote(object_id))
            if row is None:
                raise Http404(f"There is no such {self.opts.verbose_name}.")
            return cast("Page", getattr(self, name))(request, row)

        return view

    def _pressed(self, name: str) -> Callable[[HttpRequest, str], HttpResponse]:
        def view(request: HttpRequest, object_id: str) -> HttpResponse:
            if request.method != "POST":
                return HttpResponseNotAllowed(["POST"])
            back = self.address("change", object_id)
            if self.get_object(request, unquote(object_id)) is None:
                raise Http404(f"There is no such {self.opts.verbose_name}.")
            try:
                answer = cast("Button", getattr(self, name))(request, unquote(object_id))
            except PortalError as refusal:
                self.say_refusal(request, refusal)
                return HttpResponseRedirect(back)
            if isinstance(answer, HttpResponse):
                return answer
            self.message_user(request, answer, messages.SUCCESS)
            return HttpResponseRedirect(back)

        return view
