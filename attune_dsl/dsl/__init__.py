"""The declarations: decorators, options, injection, and the plan of a workflow. Cheap to import."""
