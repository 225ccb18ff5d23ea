"""The web process: pages and API. It holds neither the owner's URL nor a manager or signing key."""

import gc
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jitportal.settings")
os.environ.setdefault("JITPORTAL_PROCESS", "web")

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
# What is imported is there to stay: no request waits while it is looked through for garbage.
gc.freeze()
