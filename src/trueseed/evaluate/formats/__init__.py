"""The field's files of questions, answers and verdicts: AlpacaEval, MT-bench and arena-hard, one home each.

`reading` tells by a file's fields which of them it is, and brings it in; `writing` puts out what their scripts read;
`row` is what they share. None of them has a field for whose model spoke: what we write carries it as one more member,
`trueseed`, which their scripts ignore, and in a file `origins.json` beside.
"""
