"""What I was told."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.adminsite import person
from apps.notifications import services as notifications
from apps.notifications.models import Notification
from apps.portal.paging import Page, page_of


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    page: Page[Notification] = page_of(request, Notification.objects.filter(user=person(request)))
    return render(request, "portal/notifications.html", {"page": page})


@require_POST
def read(request: HttpRequest) -> HttpResponse:
    """All of them, or with `id` just these."""
    ids = [int(value) for value in request.POST.getlist("id") if value.isdecimal() and len(value) < 19]
    notifications.mark_read(actor=person(request), ids=ids or None)
    return HttpResponseRedirect(reverse("portal:notifications"))
