"""What readers answer, and the processes that do: a function for each question. Only they load these modules."""
