"""Classification as a file, on the admin's page of a database."""

from typing import Any, Final

from django import forms
from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from apps.accounts.adminsite import person
from apps.accounts.dual_control import Waits
from apps.catalog import services
from apps.catalog.buttons import ButtonsAdmin, refused
from apps.catalog.classification_csv import MOST_BYTES, BadFile, Imported, text_of
from apps.catalog.models import Database
from apps.core.errors import Conflict, Invalid, PortalError

_MAX_AGE: Final = 3600  # seconds between looking and confirming
_SHOWN: Final = 500
_ABOUT: Final = (
    "Upload a file as it is downloaded here. An empty cell leaves a value as it is, the word none takes it away; "
    "columns that the file does not name stay as they are. You see what would change before anything does.",
)


class UploadForm(forms.Form):
    file = forms.FileField(label="CSV file")


class ConfirmForm(forms.Form):
    """The file goes to the browser and back, signed, so that what is confirmed is what was shown."""

    signed = forms.CharField(widget=forms.HiddenInput)


class ClassificationPages(ButtonsAdmin):
    """Download; upload, look, confirm."""

    def download_classification(self, request: HttpRequest, database_id: str) -> HttpResponse:
        lines = services.export_classification(actor=person(request), database_id=database_id)
        slug = Database.objects.values_list("slug", flat=True).get(pk=database_id)
        return HttpResponse(
            "".join(lines),
            content_type="text/csv; charset=utf-8",
            headers={
                "Content-Disposition": f'attachment; filename="classification-{slug}.csv"',
                "Cache-Control": "no-store",
            },
        )

    def upload_classification(self, request: HttpRequest, database: Database) -> HttpResponse:
        form, problems = UploadForm(request.POST or None, request.FILES or None), []
        try:
            if "signed" in request.POST:
                return self._confirmed(request, database)
            if form.is_valid():
                return self._preview(request, database, form)
        except Waits as waits:
            self.say_refusal(request, waits)
            return HttpResponseRedirect(self.address("change", database.pk))
        except PortalError as refusal:
            form = UploadForm(request.POST, request.FILES)
            form.full_clean()
            form.errors.clear()  # of a confirmation, which carries no file
            problems = refusal.problems if isinstance(refusal, BadFile) else []
            refused(form, Invalid("Nothing was changed.", field="file") if problems else refusal)
        return self.show_page(
            request,
            database,
            "upload.html",
            title="Upload classification",
            about=_ABOUT,
            form=form,
            problems=problems,
            submit="Show what would change",
        )

    def _preview(self, request: HttpRequest, database: Database, form: UploadForm) -> HttpResponse:
        file = form.cleaned_data["file"]
        text = text_of(file.read(MOST_BYTES + 1))
        imported = services.import_classification(
            actor=person(request), database_id=database.pk, file=text, dry_run=True
        )
        if not imported.changes:
            return self.done(
                request, self.address("change", database.pk), f"The file changes nothing: {imported.rows} rows."
            )
        signed = signing.dumps({"file": text, "seen": imported.digest}, salt=_salt(request, database), compress=True)
        if len(signed) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE * 9 // 10:
            raise Invalid("The file is too large to be sent back and forth: import it in parts.", field="file")
        return self._show(request, database, imported, ConfirmForm({"signed": signed}))

    def _show(self, request: HttpRequest, database: Database, imported: Imported, form: ConfirmForm) -> HttpResponse:
        number = len(imported.changes)
        return self.show_page(
            request,
            database,
            "upload.html",
            title="Upload classification",
            about=[f"Rows read: {imported.rows}; columns that would change: {number}. Nothing has been changed yet."],
            form=form,
            imported=imported,
            changes=imported.changes[:_SHOWN],
            hidden=number > _SHOWN,
            submit=f"Change {number} column{'' if number == 1 else 's'}",
        )

    def _confirmed(self, request: HttpRequest, database: Database) -> HttpResponse:
        try:
            said: dict[str, Any] = signing.loads(
                request.POST["signed"], salt=_salt(request, database), max_age=_MAX_AGE
            )
        except signing.BadSignature as error:
            raise Conflict("Too long ago, or not what was shown to you: upload the file again.") from error
        imported = services.import_classification(
            actor=person(request), database_id=database.pk, file=said["file"], seen=said["seen"]
        )
        sentence = f"Columns that changed: {len(imported.changes)}; less protected now: {imported.lowered}."
        return self.done(request, self.address("change", database.pk), sentence)


def _salt(request: HttpRequest, database: Database) -> str:
    return f"catalog.classification:{database.pk}:{person(request).pk}"
