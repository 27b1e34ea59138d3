"""Who may do what: principals, tokens, sessions, logins, the policy, and the views that enforce it."""
