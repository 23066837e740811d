"""Before a run: what it takes, when it is done, whether it may be done at all, and what else would do.

`making` is the plan; it draws on `measured` (a few real rows), `estimate` (intervals from them), `schedule` and
`calendar` (limits and days), `verdicts` (what the door will say) and `others` (models that one may use already).
"""
