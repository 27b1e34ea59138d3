"""Who may do what: principals, tokens, the policy, and the views that enforce it."""
