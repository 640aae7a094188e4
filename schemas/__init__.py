"""The contract between every part and everybody outside: pure, without I/O, clock or logger."""
