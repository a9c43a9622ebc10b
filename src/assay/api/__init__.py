"""The verbs: they open artifacts, hand batches to scorers, policies and proxies, and write what comes out."""
