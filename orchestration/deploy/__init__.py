"""The deployment to AWS: one settings file, checked; one CloudFormation stack, built without account or network.

`settings` reads, `checks` refuses, `names` and `environment` derive, `stack` builds, `changes` compares.
"""
