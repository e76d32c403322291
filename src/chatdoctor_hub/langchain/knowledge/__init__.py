"""What `KnowledgeDoctor` is made of: search terms, retrieval, reading, and citations that are checked."""

from __future__ import annotations

from chatdoctor_hub.langchain.knowledge.citations import Checked, CitationCheck, check_citations
from chatdoctor_hub.langchain.knowledge.consultation import Consultation
from chatdoctor_hub.langchain.knowledge.evidence import Evidence, PassageSource, TableSource
from chatdoctor_hub.langchain.knowledge.keywords import lexical_keywords, parse_keywords
from chatdoctor_hub.langchain.knowledge.prompting import KnowledgePrompts
from chatdoctor_hub.langchain.knowledge.retrieval import Failure

__all__ = [
    "Checked",
    "CitationCheck",
    "Consultation",
    "Evidence",
    "Failure",
    "KnowledgePrompts",
    "PassageSource",
    "TableSource",
    "check_citations",
    "lexical_keywords",
    "parse_keywords",
]
