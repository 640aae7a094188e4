"""The browser's door: freshness, sign-in, a confirming POST, and a page that follows the link."""
