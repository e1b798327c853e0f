"""`make bench-admin`: how the admin app answers while streams are open, and what a thousand of them leave behind."""
