"""Forms of records: each turns what a file says into one plain shape, by its keys alone."""

from sac_rag.data.forms.detect import QA_FORMS, form_of
from sac_rag.data.forms.plain import BadRecordError, to_record
from sac_rag.data.forms.text import to_text

__all__ = ["QA_FORMS", "BadRecordError", "form_of", "to_record", "to_text"]
