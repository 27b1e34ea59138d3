"""What the API answers and takes, as schemas of its OpenAPI document. Each has an example, which a test reads back.

Answers are written from plain JSON data without these models; tests hold every answer against its model.
"""
