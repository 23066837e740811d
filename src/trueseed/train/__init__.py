"""Dataset to student: `sft.train(sft.Config(...), dataset, base, step)`.

settings   what a run file may say of it
batches    records → token sequences → packed batches, order a pure function of the seed
network    a transformers model that reads packed batches
losses     what the student is told
divergence how far it is from a teacher in memory
course     the curve of a training, and which step of it is kept
checkpoints what a killed run goes on from
collect    a teacher is heard about a whole dataset, through an open step
loop       steps of the optimizer, exact resume, early stopping
ranks      several processes that take the same steps (torchrun)
shards     weights shared out among them (FSDP2)
stage      what all methods do: read the dataset, learn, write the weights
online     a teacher in memory: what it thinks of a batch's answers
own_words  steps whose rows the student says itself
on_policy  distillation from a teacher in memory, on the records' answers and the student's own
codec      what a teacher thought, as bytes
signals    the same of a dataset, stored
collect    asks weights for them
told       takes what a server told of its tokens
preflight  which way of distilling is right, if any
sparse     how far a student is from a stored teacher
distil     distillation from stored log-probabilities
sft        supervised fine-tuning on answers: the whole network, or LoRA
"""
