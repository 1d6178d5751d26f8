"""Rows that jobs of the tests write and read."""

from __future__ import annotations

from django.db import models


class Note(models.Model):
    """A line of text left by a job, to be found by the test."""

    text = models.TextField()

    def __str__(self) -> str:
        return self.text
