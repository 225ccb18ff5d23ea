"""People, groups and tokens as a database administrator sees them."""

from functools import partial
from typing import Any

from allauth.usersessions.models import UserSession
from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ActionForm
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.accounts import services
from apps.accounts.adminsite import PortalModelAdmin, ReadOnlyAdmin, VerbForm, person, portal_admin
from apps.accounts.models import ApiToken, Duty, GroupProfile, Membership, User


class ReasonForm(ActionForm):
    """A field beside the list of actions."""

    reason = forms.CharField(required=False, label="Reason (for the record)")


class PersonForm(VerbForm):
    """The only thing about a person that is set here."""

    by_hand = forms.ModelMultipleChoiceField(
        Group.objects.order_by("name"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="Groups by hand",
        help_text="On top of what single sign-on says. Each change is recorded.",
    )

    class Meta:
        model = User
        fields: list[str] = []
        help_texts = {"username": "", "is_active": ""}  # Django's own speak to whoever could change them

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["by_hand"].initial = _by_hand(self.instance)


@admin.register(User, site=portal_admin)
class UserAdmin(PortalModelAdmin):
    """Identity comes from single sign-on; groups by hand and leaving are verbs."""

    form = PersonForm
    may_change = True
    action_form = ReasonForm
    actions = ["deactivate", "reactivate"]
    list_display = ["username", "name", "email", "in_groups", "is_active", "seen_at"]
    list_filter = ["is_active", "groups"]
    search_fields = ["username", "first_name", "last_name", "email"]
    ordering = ["username"]
    fields = [
        "username", "name", "email", "issuer", "subject", "is_active", "seen_at", "emergency_until", "time_zone",
        "from_sso", "by_hand", "open_sessions",
    ]  # fmt: skip
    readonly_fields = [
        "username", "name", "email", "issuer", "subject", "is_active", "seen_at", "emergency_until", "time_zone",
        "from_sso", "open_sessions",
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return User.objects.prefetch_related("groups")

    @admin.display(description="groups")
    def in_groups(self, user: User) -> str:
        return ", ".join(sorted(group.name for group in user.groups.all()))

    @admin.display(description="Groups from single sign-on")
    def from_sso(self, user: User) -> str:
        rows = user.memberships.filter(source=Membership.Source.SSO).values_list("group__name", flat=True)
        return ", ".join(sorted(rows)) or "none"

    @admin.display(description="Open sessions")
    def open_sessions(self, user: User) -> int:
        return int(UserSession.objects.filter(user=user).count())

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        wanted, had = set(form.cleaned_data["by_hand"]), set(_by_hand(obj))
        for group in wanted ^ had:
            call = partial(
                services.set_membership, actor=person(request), user=obj, group=group, present=group in wanted
            )
            self.attempt(request, call)

    @admin.action(description="Deactivate: end sessions, tokens and access")
    def deactivate(self, request: HttpRequest, people: QuerySet[User]) -> None:
        actor, reason = person(request), request.POST.get("reason", "")
        self.call_verb(
            request, people, lambda user: services.deactivate(actor=actor, user=user, reason=reason), done="Deactivated"
        )

    @admin.action(description="Reactivate")
    def reactivate(self, request: HttpRequest, people: QuerySet[User]) -> None:
        actor, reason = person(request), request.POST.get("reason", "")
        self.call_verb(
            request, people, lambda user: services.reactivate(actor=actor, user=user, reason=reason), done="Reactivated"
        )


class GroupForm(VerbForm):
    """The name is given once: the record and single sign-on know the group by it."""

    name = forms.CharField(max_length=150)
    duty = forms.ChoiceField(choices=[("", "none"), *Duty.choices], required=False)

    class Meta:
        model = GroupProfile
        fields = ["claim", "is_team", "duty"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.fields["name"].initial = self.instance.group.name
            self.fields["name"].disabled = True

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip()
        if not self.instance.pk and Group.objects.filter(name=name).exists():
            raise forms.ValidationError("There is a group of this name. Change that one.")
        return name


@admin.register(GroupProfile, site=portal_admin)
class GroupProfileAdmin(PortalModelAdmin):
    """Groups: which claim of the sign-on means them, whether they are a team, which duty they carry."""

    form = GroupForm
    may_add = may_change = True
    fields = ["name", "claim", "is_team", "duty"]
    list_display = ["group", "claim", "is_team", "duty", "people"]
    list_select_related = ["group"]
    search_fields = ["group__name", "claim"]
    ordering = ["group__name"]

    @admin.display(description="people")
    def people(self, profile: GroupProfile) -> int:
        return profile.group.user_set.count()

    def save_model(self, request: HttpRequest, obj: GroupProfile, form: Any, change: bool) -> None:
        said = form.cleaned_data
        saved = services.save_group(
            actor=person(request),
            name=said["name"],
            claim=said["claim"],
            is_team=said["is_team"],
            duty=Duty(said["duty"]) if said["duty"] else None,
        )
        obj.pk, obj.group = saved.pk, saved.group


@admin.register(ApiToken, site=portal_admin)
class ApiTokenAdmin(ReadOnlyAdmin):
    """To see which tokens there are, and to revoke one that leaked."""

    actions = ["revoke"]
    list_display = ["name", "user", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at"]
    list_select_related = ["user"]
    list_filter = ["revoked_at"]
    search_fields = ["name", "user__username"]
    fields = ["name", "user", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at"]

    @admin.action(description="Revoke")
    def revoke(self, request: HttpRequest, tokens: QuerySet[ApiToken]) -> None:
        actor = person(request)
        self.call_verb(
            request, tokens, lambda token: services.revoke_token(actor=actor, token_id=token.pk), done="Revoked"
        )


def _by_hand(user: User) -> QuerySet[Group]:
    return Group.objects.filter(memberships__user=user, memberships__source=Membership.Source.MANUAL)
