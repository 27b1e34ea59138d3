"""What the account of a deployment lacks, asked before anything is created. Reads only; `checks` runs all of it."""
