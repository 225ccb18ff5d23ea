"""Coming in, going out, one's own sessions and tokens. There is no sign-up, no password reset, no e-mail management."""

from django.urls import path

from apps.accounts import views

urlpatterns = [
    path("login/", views.login_page, name="account_login"),
    path("logout/", views.logout_page, name="account_logout"),
    path("sso/login/", views.sso_login, name="sso_login"),
    path("sso/callback/", views.sso_callback, name="sso_callback"),
    path("sso/step-up/", views.sso_step_up, name="sso_step_up"),
    path("step-up/", views.step_up, name="accounts_step_up"),
    path("emergency/", views.emergency, name="accounts_emergency"),
    path("profile/", views.profile, name="accounts_profile"),
    path("sessions/", views.sessions, name="accounts_sessions"),
    path("sessions/<int:session_id>/end/", views.end_session, name="accounts_session_end"),
    path("tokens/", views.tokens, name="accounts_tokens"),
    path("tokens/<str:token_id>/revoke/", views.revoke_token, name="accounts_token_revoke"),
]
