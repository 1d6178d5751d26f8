"""The ASGI application that uvicorn serves."""

from __future__ import annotations

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_asgi.settings")

# Serving the style sheets from here is for a demo; a real project has a web server do it.
application = ASGIStaticFilesHandler(get_asgi_application())
