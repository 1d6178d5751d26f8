"""Django settings of the tests.

The environment chooses: `TEST_DATABASE` is sqlite (default), postgresql or mariadb (see
tests/databases.py for their addresses); `TEST_USE_TZ=0` and `TEST_TIME_ZONE` change the clock.
A child process that inherits the environment works on the same test databases.
"""

from __future__ import annotations

import os
import secrets
from typing import cast

from tests.databases import ALIASES, Vendor, django_database

# Two runs at once on one server must not meet; the process id alone repeats in containers.
os.environ.setdefault("TEST_RUN_ID", f"{os.getpid()}_{secrets.token_hex(3)}")

DATABASE_VENDOR = cast(Vendor, os.environ.get("TEST_DATABASE", "sqlite"))
if DATABASE_VENDOR == "mariadb":
    import pymysql

    pymysql.install_as_MySQLdb()

DATABASES = {alias: django_database(DATABASE_VENDOR, alias) for alias in ALIASES}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "async_apscheduler",
    "tests.testapp",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
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
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

USE_TZ = os.environ.get("TEST_USE_TZ", "1") != "0"
TIME_ZONE = os.environ.get("TEST_TIME_ZONE", "UTC")

SECRET_KEY = "the same in every run, so that signed values can be written down in a test"
ALLOWED_HOSTS = ["*"]
# The real hashers are slow by design; a test only needs to log in.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Answers of 403 and 404 are what many tests ask for; Django would print each to the console.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"nowhere": {"class": "logging.NullHandler"}},
    "loggers": {"django": {"handlers": ["nowhere"]}},
}
