"""Settings of the example: what `startproject` writes, and the two lines that matter here.

Those are "async_apscheduler" in INSTALLED_APPS and, optional, ASYNC_APSCHEDULER at the end.

The environment may name another SQLite file (`EXAMPLE_DATABASE`) and the address at which the web
server answers (`EXAMPLE_URL`). Nothing here is fit for a public server: the secret key is known to
everybody, and the demo command creates a login that is, too.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

BASE_DIR = Path(__file__).resolve().parent

DEBUG = True
SECRET_KEY = "django-insecure-known-to-everybody-since-it-stands-in-the-example"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "async_apscheduler",
    "example_asgi.weather",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "example_asgi.urls"
ASGI_APPLICATION = "example_asgi.asgi.application"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TIME_ZONE = "UTC"

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("EXAMPLE_DATABASE", BASE_DIR / "db.sqlite3"),
        "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL"},
    }
}

# No handler: what a job logs is kept with its run, where the admin shows it.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"example_asgi": {"level": "INFO"}},
}

INSTRUMENTS_URL = os.environ.get("EXAMPLE_URL", "http://127.0.0.1:8000") + "/instruments/"

ASYNC_APSCHEDULER = {
    # Who presses Ctrl-C waits at most so long for the runs to end; the default is 30 seconds.
    "SHUTDOWN_TIMEOUT": timedelta(seconds=10),
    # A run every few seconds: an hour of history is plenty.
    "RETENTION": timedelta(hours=1),
}
