"""The checks of a validation: each takes an `Examination` and returns a `CheckResult`."""
