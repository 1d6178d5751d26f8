"""Addresses of the desk."""

from __future__ import annotations

from django.urls import path

from example_asgi.weather import views
from example_asgi.weather.instruments import instrument

app_name = "weather"
urlpatterns = [
    path("", views.home, name="home"),
    path("instruments/<slug:slug>/", instrument, name="instrument"),
    path("stations/<slug:slug>/balloon/", views.schedule_balloon, name="schedule-balloon"),
    path("stations/<slug:slug>/repair/", views.repair_station, name="repair-station"),
    path("jobs/<path:job_id>/run/", views.run_now, name="run-now"),
    path("jobs/<path:job_id>/remove/", views.call_off, name="call-off"),
    path("runs/<int:pk>/cancel/", views.cancel_run, name="cancel-run"),
]
