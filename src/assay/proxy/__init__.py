"""Proxies: small models trained on what an arm chooses, and what is asked of them."""

from assay.proxy.gpt import GPT
from assay.proxy.ngram import NGram

Proxy = NGram | GPT
PROXIES: dict[str, type[NGram] | type[GPT]] = {NGram.name: NGram, GPT.name: GPT}
