"""What readers answer: a function for each question. Only processes of readers load these modules."""
