"""What statements change, what epochs commit, and what evidence proves."""
