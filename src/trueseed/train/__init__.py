"""Dataset to student: `sft.train(sft.Config(...), dataset, base, step)`.

settings   what a run file may say of it
batches    records → token sequences → packed batches, order a pure function of the seed
network    a transformers model that reads packed batches
losses     what the student is told
loop       steps of the optimizer, checkpoints, exact resume
sft        supervised fine-tuning on answers: the whole network, or LoRA
"""
