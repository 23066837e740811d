"""Teachers behind an API: what is asked, what comes back, and what a failure leads to."""
