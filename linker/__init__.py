"""The saga that links a Ring account to a partner's user, and keeps its tokens."""
