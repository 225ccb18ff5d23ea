"""The admin of the portal: Django's own, behind the single sign-on, and changing rows through verbs only."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.views.decorators.cache import never_cache

from apps.accounts.dual_control import Waits
from apps.accounts.models import User
from apps.accounts.roles import is_dba
from apps.accounts.signing import sign_out
from apps.core.errors import PortalError

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Any]
    _ModelAdmin = ModelAdmin[Any]
else:  # Django's own classes take no type parameter when the program runs
    _ModelForm, _ModelAdmin = forms.ModelForm, ModelAdmin

_R = TypeVar("_R")
FrontPagePart = Callable[[HttpRequest], dict[str, Any]]


class PortalAdminSite(AdminSite):
    """The only admin site. Database administrators and the emergency administrator enter; nobody signs in here."""

    site_title = site_header = "jitportal administration"
    index_title = "Administration"
    site_url = "/"
    index_template = "admin/portal_index.html"
    enable_nav_sidebar = True

    def __init__(self) -> None:
        super().__init__(name="admin")
        # What a room above adds to the front page: functions that give a part of its context.
        self.front_page: list[FrontPagePart] = []

    def has_permission(self, request: HttpRequest) -> bool:
        return is_dba(request.user)

    def index(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = dict(extra_context or {})
        for part in self.front_page:
            context |= part(request)
        return super().index(request, context)

    @method_decorator(never_cache)
    @method_decorator(login_not_required)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The same door as everywhere (field notes W8)."""
        if request.user.is_authenticated and not self.has_permission(request):
            # Sending them to the door again would send them back here.
            raise PermissionDenied("The administration is for database administrators.")
        wanted = request.GET.get("next") or reverse("admin:index", current_app=self.name)
        return HttpResponseRedirect(f"{reverse('account_login')}?{urlencode({'next': wanted})}")

    def logout(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method != "POST":
            return HttpResponse(status=405, headers={"Allow": "POST"})
        sign_out(request)
        return HttpResponseRedirect(reverse("account_login"))

    def password_change(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        raise Http404("Passwords are not kept here.")

    def password_change_done(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        raise Http404("Passwords are not kept here.")


portal_admin = PortalAdminSite()


class VerbForm(_ModelForm):
    """A form that shows why a verb refused, beside the field that it was about."""

    refusal: ClassVar[PortalError | None] = None

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.refusal is not None:
            self.add_error(self.refusal.field if self.refusal.field in self.fields else None, self.refusal.sentence)
        return cleaned


_SECRETS: Final = {"password", "digest", "manager_secret", "manager_verifier"}


class PortalModelAdmin(_ModelAdmin):
    """Shows rows to database administrators. Changes only where a class says so, and then by a verb.

    A class that sets `may_add` or `may_change` has a form (a VerbForm) and its own save_model(), which calls a verb and
    gives `obj` the primary key of what the verb made. It never saves `obj`.
    """

    form = VerbForm
    may_add = False
    may_change = False
    show_full_result_count = False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """A filter in the address must not answer questions about secrets, one letter after the other."""
        if _SECRETS & set(lookup.split("__")):
            return False
        return super().lookup_allowed(lookup, value, request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return portal_admin.has_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return portal_admin.has_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.may_add and portal_admin.has_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.may_change and portal_admin.has_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Without the transaction that Django would wrap around it: a verb has its own, and it is durable."""
        try:
            return self._changeform_view(  # type: ignore[attr-defined]
                request, object_id, form_url, extra_context
            )
        except Waits as waits:
            self.say_refusal(request, waits)
            return HttpResponseRedirect(self._list_address())
        except PortalError as refusal:
            request.portal_refusal = refusal  # type: ignore[attr-defined]
            return self._changeform_view(  # type: ignore[attr-defined]
                request, object_id, form_url, extra_context
            )

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.refusal = getattr(request, "portal_refusal", None)  # type: ignore[attr-defined]
        return form

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        raise PermissionDenied(f"{self.opts.verbose_name_plural} are not changed here.")

    def attempt(self, request: HttpRequest, verb: Callable[[], _R]) -> _R | None:
        """For a form that calls several verbs: where one waits for a second person, say so and go on."""
        try:
            return verb()
        except Waits as waits:
            self.say_refusal(request, waits)
            request.portal_waits = True  # type: ignore[attr-defined]
            return None

    def say_refusal(self, request: HttpRequest, refusal: PortalError, about: object = "") -> None:
        """As a message; what waits for a second person is no error, and is a link to where they agree."""
        said = f"{about}: {refusal.sentence}" if about else refusal.sentence
        if isinstance(refusal, Waits):
            link = format_html(' <a href="{}">{}</a>', reverse("portal:edit", args=[refusal.edit.pk]), "What waits")
            self.message_user(request, format_html("{}{}", said, link), messages.WARNING)
        else:
            self.message_user(request, said, messages.ERROR)

    def response_change(self, request: HttpRequest, obj: Any) -> Any:
        """Not “was changed successfully” where not all of it was."""
        if getattr(request, "portal_waits", False):
            return HttpResponseRedirect(self._list_address())
        return super().response_change(request, obj)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> Any:
        if getattr(request, "portal_waits", False):
            return HttpResponseRedirect(self._list_address())
        return super().response_add(request, obj, post_url_continue)

    def _list_address(self) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """The verb has saved everything."""

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """The verb has written the record; Django's own log would be a second, weaker one."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """As log_addition()."""

    def call_verb(
        self, request: HttpRequest, rows: QuerySet[Any] | Iterable[Any], verb: Callable[[Any], object], *, done: str
    ) -> None:
        """For an action: call `verb` with each row, say what was done and what was refused."""
        count = 0
        for row in rows:
            try:
                verb(row)
                count += 1
            except PortalError as refusal:
                self.say_refusal(request, refusal, about="" if isinstance(refusal, Waits) else row)
        if count:
            self.message_user(request, f"{done}: {count}.", messages.SUCCESS)


class ReadOnlyAdmin(PortalModelAdmin):
    """Rows that live by verbs elsewhere: to look at, and to act on by actions."""

    may_add = False
    may_change = False


def person(request: HttpRequest) -> User:
    """The signed-in person as the verbs want them."""
    if isinstance(request.user, AnonymousUser):
        raise PermissionDenied("Sign in first.")
    return request.user
