"""All settings, from the environment.

Each process is told by JITPORTAL_PROCESS what it is, and sees only what that kind may hold (design §7):

    web       DATABASE_URL of the web role, grant-password ring, public key for manager secrets
    worker    DATABASE_URL of the worker role, grant-password ring, manager private key, signing key
    clock     DATABASE_URL of the worker role, no key
    operator  (the default of manage.py) whatever the person on the server was given

If JITPORTAL_DATA names a folder, its `common.env` and `<process>.env` are read first; what already stands in
the environment wins.
"""

import os
import sys
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from environs import Env

BASE_DIR = Path(__file__).resolve().parent.parent
PROCESS = os.environ.get("JITPORTAL_PROCESS", "operator")
DATA_DIR = Path(os.environ.get("JITPORTAL_DATA", BASE_DIR / ".demo")).resolve()

if PROCESS not in {"web", "worker", "clock", "operator"}:
    raise ImproperlyConfigured(f"JITPORTAL_PROCESS is {PROCESS!r}; it must be web, worker, clock or operator.")

env = Env()
TESTING = env.bool("JITPORTAL_TESTING", False)
if not TESTING:
    for name in ("common", PROCESS):
        if (DATA_DIR / f"{name}.env").is_file():
            env.read_env(str(DATA_DIR / f"{name}.env"), recurse=False)

# Secrets and who may hold them -------------------------------------------------------------------------------

SECRET_KEY = env.str("JITPORTAL_SECRET_KEY")
SECRET_KEY_FALLBACKS = env.list("JITPORTAL_SECRET_KEY_FALLBACKS", [])
GRANT_PASSWORD_RING = env.list("JITPORTAL_GRANT_PASSWORD_RING", [])  # newest first, apps.core.sealed.new_ring_key()
MANAGER_PUBLIC_KEY = env.str("JITPORTAL_MANAGER_PUBLIC_KEY", "")
MANAGER_PRIVATE_KEY = env.str("JITPORTAL_MANAGER_PRIVATE_KEY", "")
MANAGER_PRIVATE_KEY_FALLBACKS = env.list("JITPORTAL_MANAGER_PRIVATE_KEY_FALLBACKS", [])
SIGNING_KEY_FILE = env.str("JITPORTAL_SIGNING_KEY_FILE", "")  # manage.py new_signing_key; without one nothing is signed
_NOT_THEIRS = (
    "DATABASE_OWNER_URL",
    "JITPORTAL_MANAGER_PRIVATE_KEY",
    "JITPORTAL_MANAGER_PRIVATE_KEY_FALLBACKS",
    "JITPORTAL_SIGNING_KEY_FILE",
)
if PROCESS in {"web", "clock"}:
    for name in _NOT_THEIRS:
        if env.str(name, ""):
            raise ImproperlyConfigured(f"The {PROCESS} process must not see {name}: remove it from its environment.")

# Where it answers --------------------------------------------------------------------------------------------

BASE_URL = env.str("JITPORTAL_BASE_URL", "http://127.0.0.1:8000").rstrip("/")
HTTPS = BASE_URL.startswith("https://")
DEBUG = False
ALLOWED_HOSTS = env.list("JITPORTAL_HOSTS", ["127.0.0.1", "localhost"])
CSRF_TRUSTED_ORIGINS = [BASE_URL] if HTTPS else []
ROOT_URLCONF = "jitportal.urls"
WSGI_APPLICATION = "jitportal.wsgi.application"

# Plain HTTP is for loopback; everywhere else browsers hold the cookies to this very host.
SESSION_COOKIE_NAME = "__Host-session" if HTTPS else "jitportal_session"
CSRF_COOKIE_NAME = "__Host-csrf" if HTTPS else "jitportal_csrf"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
# Lax, because the way back from the identity provider is a cross-site navigation.
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = env.int("JITPORTAL_SESSION_SECONDS", 12 * 3600)
CSRF_FAILURE_VIEW = "apps.portal.views.errors.csrf_failure"
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
BEHIND_PROXY = env.bool("JITPORTAL_BEHIND_PROXY", False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000  # a request may name every table of a large schema

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'", *env.list("JITPORTAL_FORM_ORIGINS", [])],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

# Applications ------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "jitportal",
    "apps.portal",
    "apps.erasing",
    "apps.api",
    "apps.notifications",
    "apps.console",
    "apps.reports",
    "apps.grants",
    "apps.approvals",
    "apps.requests",
    "apps.policies",
    "apps.catalog",
    "apps.accounts",
    "apps.audit",
    "apps.core",
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "allauth.idp.oidc",  # device codes of the `jit` command: apps.accounts.devices
    "csp",
    "django_htmx",
    "django_q",
    "guardian",
    "django.forms",  # its templates, which FORM_RENDERER looks for
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "apps.accounts.middleware.SessionActivityMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "apps.portal.middleware.PortalMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "apps.portal.context.portal",
            ],
        },
    },
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

# Databases: `default` is the runtime role of this process, `owner` exists only where migrations run -------------


def _database(variable: str) -> dict[str, object]:
    url = env.dj_db_url(variable, conn_max_age=60, conn_health_checks=True)
    # Works through pgbouncer in transaction mode.
    return {**url, "DISABLE_SERVER_SIDE_CURSORS": True, "OPTIONS": {"application_name": f"jitportal-{PROCESS}"}}


DATABASES = {"default": _database("DATABASE_URL")}
if env.str("DATABASE_OWNER_URL", ""):
    DATABASES["owner"] = _database("DATABASE_OWNER_URL")
# For LISTEN and streaming readers, which a transaction pooler cannot serve.
DATABASE_DIRECT_URL = env.str("DATABASE_DIRECT_URL", "") or env.str("DATABASE_URL")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Web processes are several, and a device code begun at one is confirmed at another. Workers keep theirs to themselves.
_in_memory = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
CACHES = {"default": _in_memory, "process": _in_memory}
if PROCESS == "web":
    CACHES["default"] = {"BACKEND": "apps.accounts.passing.RowCache"}

# People ------------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["apps.accounts.backends.EmergencyBackend", "apps.accounts.backends.SsoBackend"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
GUARDIAN_MONKEY_PATCH_USER = False
ANONYMOUS_USER_NAME = None
SILENCED_SYSTEM_CHECKS = ["guardian.W001"]  # rights are read by querysets that exempt no superuser, not by a backend
PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher"]
AUTH_PASSWORD_VALIDATORS: list[dict[str, object]] = []

SSO_ISSUER = env.str("JITPORTAL_SSO_ISSUER", "")
SSO_NAME = env.str("JITPORTAL_SSO_NAME", "single sign-on")
SSO_GROUPS_CLAIM = env.str("JITPORTAL_SSO_GROUPS_CLAIM", "groups")
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "APPS": [
            {
                "provider_id": "sso",
                "name": SSO_NAME,
                "client_id": env.str("JITPORTAL_SSO_CLIENT_ID", ""),
                "secret": env.str("JITPORTAL_SSO_CLIENT_SECRET", ""),
                # Issuer, PKCE, nonce and signature are held by apps.accounts.sso; only scopes are a choice.
                "settings": {"scope": env.list("JITPORTAL_SSO_SCOPES", ["openid", "profile", "email"])},
            }
        ],
    }
}
SOCIALACCOUNT_ADAPTER = "apps.accounts.adapters.SsoAdapter"
ACCOUNT_ADAPTER = "apps.accounts.adapters.AccountAdapter"
SOCIALACCOUNT_ONLY = True
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False
ACCOUNT_EMAIL_VERIFICATION = "none"
# The first per address and name; the others keep anybody from trying out codes.
ACCOUNT_RATE_LIMITS = {"emergency": "5/m/key", "device_code": "20/m/ip", "device_user_code": "20/m/ip"}
# Signing in of the `jit` command: the code, how often it asks, and what its token is worth.
IDP_OIDC_DEVICE_CODE_EXPIRES_IN = 600
IDP_OIDC_DEVICE_CODE_INTERVAL = 2
CLI_TOKEN_DAYS = env.int("JITPORTAL_CLI_TOKEN_DAYS", 30)
ALLAUTH_TRUSTED_PROXY_COUNT = 1 if BEHIND_PROXY else 0

# Background work (django-q2 over the portal's database; its scheduler stays off: field notes S1) -------------------

Q_CLUSTER = {
    "name": "access",
    "orm": "default",
    "workers": env.int("JITPORTAL_WORKERS", 4),  # a server that answers slowly may hold three of them
    "timeout": 120,
    "retry": 180,
    "max_attempts": 1,  # rows are the message: reconcile finds what a lost task left
    "ack_failures": True,
    "broker_class": "apps.core.broker.Waking",
    "poll": 0,  # the broker waits
    "guard_cycle": 1,
    "scheduler": False,
    "save_limit": -1,  # results are rows of ours, never pickles
    "catch_up": False,
    "label": "Tasks",
    "ALT_CLUSTERS": {"bulk": {"timeout": 1800, "retry": 2400, "workers": 1}},
}
HEARTBEAT_SECONDS = 15

# Targets -----------------------------------------------------------------------------------------------------

PORTAL_ID = env.str("JITPORTAL_PORTAL_ID", "")  # random, fixed for the life of this portal's database
LOOPBACK_TARGETS = env.bool("JITPORTAL_LOOPBACK_TARGETS", False)
MAX_SKEW_SECONDS = 30
MAX_MINUTES = 60 * 24 * 30  # a sanity bound; policies set the real caps
BREAK_GLASS_MINUTES = env.int("JITPORTAL_BREAK_GLASS_MINUTES", 60)  # the longest access without anybody's yes
STEP_UP_SECONDS = env.int("JITPORTAL_STEP_UP_SECONDS", 300)  # for how long a proof of who somebody is counts as new
# Whom the identity provider has not vouched for in so many hours loses access, votes that wait, and the use of tokens.
SEEN_WITHIN_HOURS = env.int("JITPORTAL_SEEN_WITHIN_HOURS", 24)
METRICS_TOKEN = env.str("JITPORTAL_METRICS_TOKEN", "")  # bearer of GET /metrics; without it there are none
REQUEST_LAPSES_AFTER_HOURS = env.int("JITPORTAL_REQUEST_LAPSES_AFTER_HOURS", 72)
# Where signed checkpoints are kept outside of the database: file:/path, http(s)://host/path of a witness.
ANCHORS = env.list("JITPORTAL_ANCHORS", [])
AUDIT_ORIGIN = env.str("JITPORTAL_AUDIT_ORIGIN", BASE_URL.split("://")[-1])

# Mail, language, files, logs -----------------------------------------------------------------------------------

_email = env.dj_email_url("EMAIL_URL", "console://")
EMAIL_BACKEND = _email["EMAIL_BACKEND"]
EMAIL_HOST, EMAIL_PORT = _email["EMAIL_HOST"], _email["EMAIL_PORT"]
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _email["EMAIL_HOST_USER"], _email["EMAIL_HOST_PASSWORD"]
EMAIL_USE_TLS, EMAIL_USE_SSL = _email["EMAIL_USE_TLS"], _email["EMAIL_USE_SSL"]
EMAIL_FILE_PATH = env.str("JITPORTAL_MAIL_FOLDER", "") or None
if EMAIL_FILE_PATH:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str("JITPORTAL_MAIL_FROM", "jitportal@localhost")

LANGUAGE_CODE = "en-gb"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True  # found where they are; nothing is collected
WHITENOISE_AUTOREFRESH = False

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "filters": {"routine": {"()": "jitportal.logs.NotRoutine"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "stream": sys.stderr,
            "formatter": "line",
            "filters": ["routine"],
        },
    },
    "root": {"handlers": ["stderr"], "level": env.str("JITPORTAL_LOG_LEVEL", "WARNING" if TESTING else "INFO")},
}
