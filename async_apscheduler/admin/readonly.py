"""What the pages of this app have in common: rows are looked at and steered, not typed in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected as ask_and_delete
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from async_apscheduler.admin.columns import EMPTY, list_address
from async_apscheduler.models.limits import is_storable

MAX_LISTED = 100
"""Objects that a confirmation page names; it counts the others."""


class LightChangeList(ChangeList):
    """A list that leaves large columns in the database."""

    model_admin: ReadOnlyAdmin

    def get_filters(self, request: HttpRequest) -> Any:
        """Return the filters in use; what no database can hold is a wrong value, not an error."""
        if not all(is_storable(str(text)) for text in request.GET.values()):
            raise IncorrectLookupParameters("a value has characters that no database can hold")
        return super().get_filters(request)

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        """Return the rows of the list, without the columns in `list_deferred`."""
        rows = super().get_queryset(request, *args, **kwargs)
        return rows.defer(*self.model_admin.list_deferred)


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # the stubs' generic, not Django's
    """Rows that are neither added nor edited by hand."""

    list_deferred: tuple[str, ...] = ()
    """Columns that the list does not show and so need not load."""
    shown_if: Mapping[str, str] = {}
    """Fields of the page, each with the attribute of the row that it needs to say something."""
    show_full_result_count = False
    empty_value_display = EMPTY
    delete_selected_confirmation_template = "async_apscheduler/admin/delete_selected.html"

    class Media:
        css = {"all": ["async_apscheduler/admin.css"]}

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Return True for the filters that the list offers.

        Django allows every column, so that whoever may see the list could guess a masked argument
        letter by letter: ``?kwargs__password__startswith=a``.
        """
        offered = [getattr(kind, "parameter_name", kind) for kind in self.list_filter]
        name, _separator, how = lookup.partition("__")
        return lookup in offered or (name in offered and how in ("exact", "in", "isnull"))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the class of the list."""
        return LightChangeList

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Rows come from schedulers and from code."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Fields are shown, not edited."""
        return False

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        """Return the object of a page, or None."""
        return (
            super().get_object(request, object_id, from_field) if is_storable(object_id) else None
        )

    def allows(self, request: HttpRequest, word: str) -> bool:
        """Return True if the user may see these rows and has the permission `word` on them."""
        permission = f"{self.opts.app_label}.{word}_{self.opts.model_name}"
        return self.has_view_permission(request) and request.user.has_perm(permission)

    @admin.action(permissions=["delete"], description=_("Delete selected %(verbose_name_plural)s"))
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Ask, then delete; as Django's action, for any number of rows and any text as key."""
        response = ask_and_delete(self, request, queryset)
        if isinstance(response, TemplateResponse) and response.context_data is not None:
            everything = request.POST.get("select_across") == "1"
            keys = [] if everything else [_form_key(row.pk) for row in queryset]
            response.context_data.update(
                selected=keys or ["all"], select_across="1" if everything else "0"
            )
        return response

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what a deletion takes along, which is nothing, and the first of the objects."""
        number = len(objs)
        names = [str(obj) for obj in objs[:MAX_LISTED]]
        if number > MAX_LISTED:
            names.append(gettext("and %(count)d more") % {"count": number - MAX_LISTED})
        return names, {self.opts.verbose_name_plural: number}, set(), []

    def action_checkbox(self, obj: Model) -> SafeString:
        """Return the box that selects a row; its value must survive a form, line breaks and all."""
        return format_html(
            '<input type="checkbox" name="{}" value="{}" class="action-select" aria-label="{}">',
            ACTION_CHECKBOX_NAME,
            _form_key(obj.pk),
            gettext("Select this object for an action - %(name)s") % {"name": obj},
        )

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *location: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """Carry out an action on the rows whose boxes, see above, were ticked."""
        values = request.POST.getlist(ACTION_CHECKBOX_NAME)
        posted = request.POST.copy()
        keys = filter(is_storable, map(unquote, values))
        posted.setlist(ACTION_CHECKBOX_NAME, list(keys))
        request.POST = posted  # type: ignore[assignment]  # a QueryDict either way
        return super().response_action(request, queryset, *location, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields of the page, without those that have nothing to say."""
        groups = []
        for title, options in super().get_fieldsets(request, obj):
            fields = [field for field in options["fields"] if self._is_shown(field, obj)]
            if fields:
                groups.append((title, {**options, "fields": fields}))
        return groups

    def _is_shown(self, field: Any, obj: Any) -> bool:
        attribute = self.shown_if.get(field)
        return attribute is None or getattr(obj, attribute, None) not in (None, "")

    def redirect_to_list(self, request: HttpRequest, missing: str) -> HttpResponse:
        """Go to the list, saying that there is no such object."""
        text = gettext("There is no %(kind)s “%(name)s” any more.")
        values = {"kind": self.opts.verbose_name, "name": missing}
        self.message_user(request, text % values, messages.WARNING)
        return HttpResponseRedirect(list_address(self.model))

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: Any) -> HttpResponse:
        """Go back to the list; Django would leave it, as it knows only people who may edit."""
        response = super().response_delete(request, obj_display, obj_id)
        if isinstance(response, HttpResponseRedirect):
            return HttpResponseRedirect(list_address(self.model))
        return response


def _form_key(key: Any) -> str:
    """Return a primary key as a text that no browser changes, as forms do with line breaks."""
    return quote(str(key), safe=" ")
