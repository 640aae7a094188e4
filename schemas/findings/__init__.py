"""Facts in, sentences out: what is seen, what it means, what to do."""
