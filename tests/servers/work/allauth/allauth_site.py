"""A site whose login is django-allauth's own headless API with its MFA app; only the few lines of jobs are ours.

Run in the servers' environment: `python allauth_site.py PORT DIRECTORY`, with USERNAME, PASSWORD and SEED in the
environment, and SECRET_KEY where sessions outlive a restart. What the site saw is told at /record, without a login, to be judged by.
"""

import os
import sys
from pathlib import Path
from typing import Any

import django
from allauth_jobs import Jobs
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path

RECORD: dict[str, Any] = {"requests": []}


def configure(directory: Path) -> None:
    """A site of nothing but accounts: a login by password, then by the authenticator's code."""
    settings.configure(
        SECRET_KEY=os.environ.get("SECRET_KEY") or os.urandom(32).hex(),
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=__name__,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": directory / "site.sqlite3"}},
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "allauth",
            "allauth.account",
            "allauth.mfa",
            "allauth.headless",
        ],
        MIDDLEWARE=[
            f"{__name__}.recorded",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "allauth.account.middleware.AccountMiddleware",
        ],
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        AUTHENTICATION_BACKENDS=["allauth.account.auth_backends.AuthenticationBackend"],
        ACCOUNT_LOGIN_METHODS={"username"},
        ACCOUNT_EMAIL_VERIFICATION="none",
        HEADLESS_ONLY=True,
        HEADLESS_CLIENTS=("app",),
        HEADLESS_FRONTEND_URLS={},
    )
    django.setup()


def add_member() -> None:
    """The one member, with an authenticator app. The second factor is allauth's own record of one."""
    from allauth.mfa.totp.internal.auth import TOTP
    from django.contrib.auth.models import User
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    if User.objects.exists():  # a restart
        return
    member = User.objects.create_user(os.environ["USERNAME"], password=os.environ["PASSWORD"])
    TOTP.activate(member, os.environ["SEED"])


def recorded(answer: Any) -> Any:
    """Middleware: note each request to the login and to the jobs with the status that it got."""

    def note(request: HttpRequest) -> HttpResponse:
        response: HttpResponse = answer(request)
        RECORD["requests"].append([request.method, request.path, response.status_code])
        return response

    return note


def _member(request: HttpRequest) -> Any:
    """Who holds this session token, by allauth's own word for other APIs of a site; None for nobody."""
    from allauth.headless.internal.sessionkit import authenticate_by_x_session_token

    found = authenticate_by_x_session_token(request.headers.get("X-Session-Token", ""))
    return found[0] if found else None


def record(_request: HttpRequest) -> JsonResponse:
    """What was seen so far."""
    return JsonResponse(RECORD)


def routes(directory: Path) -> list[Any]:
    """Where everything stands. allauth's part can only be imported once Django is configured."""
    return [
        path("_allauth/", include("allauth.headless.urls")),
        *Jobs(directory, _member).routes(),
        path("record", record),
    ]


urlpatterns: list[Any] = []

if __name__ == "__main__":
    import uvicorn
    from django.core.handlers.wsgi import WSGIHandler

    configure(Path(sys.argv[2]))
    urlpatterns += routes(Path(sys.argv[2]))
    add_member()
    uvicorn.run(WSGIHandler(), interface="wsgi", host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
