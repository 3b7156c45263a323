"""Numbers stand where sources are named; the list has each once."""

from __future__ import annotations

from neurodyn.report.blocks import Cited
from neurodyn.report.references import References

ONE = "One et al., Journal 1, 1-2 (2001), doi:10.1038/one.1"
SAME = "One A. (2001). A title. Journal 1:1. doi:10.1038/ONE.1."
TWO = "Two et al. (2002). Another title."


def test_numbers_follow_the_text_and_one_doi_is_one_source():
    references = References()
    assert references.cite(Cited("B.", [TWO])) == 'B&nbsp;[<a href="#ref-1">1</a>].'
    assert "#ref-2" in references.cite(Cited("A.", [ONE]))
    both = references.cite(Cited("Both.", [SAME, TWO]))
    assert both == 'Both&nbsp;[<a href="#ref-1">1</a>, <a href="#ref-2">2</a>].'
    assert references.listed == [TWO, ONE]


def test_without_a_source_the_sentence_stays_and_names_are_escaped():
    references = References()
    assert references.cite("Plain <b>.") == "Plain &lt;b&gt;."
    assert references.cite(Cited("None <i>.", [""])) == "None &lt;i&gt;."
    assert references.cite(Cited("With <i>.", [TWO])).startswith("With &lt;i&gt;&nbsp;[")
    assert references.listed == [TWO]
