"""The site's second implementation, under Node and in Chromium."""
