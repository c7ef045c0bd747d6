"""A story out of the timeline as a file: for programs, for people, and for the viewers that people know."""

from attune_dsl.export.forms import FORMS, export
from attune_dsl.export.story import story_of

__all__ = ["FORMS", "export", "story_of"]
