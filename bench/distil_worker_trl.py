"""TRL's GKDTrainer as a contender of `bench.distil`, run by the Python of an environment that has trl.

    python bench/distil_worker_trl.py JOB.json

The job as in `distil_worker`, for `on_policy`. The trainer is TRL's own and unchanged, in bfloat16 and without gradient
checkpointing; it waits before each step for a line on standard input and answers with one of JSON. What it said is
counted by looking at what its `generate` gave. Its `loss` is a sum over those tokens divided by `divided_by`: the
labels of the stand-in answers in its dataset, which its trainer counts before the student speaks. Nothing of ours is
imported.
"""

import json
import os
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"


def main() -> None:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    warnings.simplefilter("ignore")
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    said = {"answers": 0, "tokens": 0, "padded": 0, "divided_by": 0}

    class Turns(TrainerCallback):  # type: ignore[misc]
        """A step begins when it is this contender's turn."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            sys.stdin.readline()
            self.wall, self.processor = time.perf_counter(), time.process_time()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.took = time.perf_counter() - self.wall, time.process_time() - self.processor

        def on_log(self, *_: Any, logs: Any = None, **__: Any) -> None:
            if logs and "loss" in logs:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
                told = {"wall": self.took[0], "processor": self.took[1], "loss": float(logs["loss"]), "gigabytes": peak}
                print("@" + json.dumps({**told, **said}), flush=True)

    class Counted(GKDTrainer):  # type: ignore[misc]
        @staticmethod
        def generate_on_policy_outputs(*args: Any, **keys: Any) -> Any:
            found = GKDTrainer.generate_on_policy_outputs(*args, **keys)
            said["answers"] += len(found[0])
            said["tokens"] += int((found[2] != -100).sum())
            said["padded"] += found[0].numel()
            return found

        def compute_loss(self, *args: Any, **keys: Any) -> Any:
            said["divided_by"] += int(keys["num_items_in_batch"])
            return super().compute_loss(*args, **keys)

    questions = job["questions"]
    chats = [
        {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": "Yes."}]}
        for question in questions
    ]
    with tempfile.TemporaryDirectory() as scratch:
        config = GKDConfig(
            output_dir=scratch,
            per_device_train_batch_size=len(questions),
            max_steps=job["turns"],
            learning_rate=job["learning_rate"],
            lr_scheduler_type="cosine",
            warmup_steps=0,
            adam_beta2=0.99,
            max_grad_norm=1.0,
            weight_decay=0.0,
            lmbda=1.0,
            beta=job["beta"],
            temperature=job["temperature"],
            max_new_tokens=job["max_new_tokens"],
            gradient_checkpointing=False,
            bf16=True,
            logging_steps=1,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
        )
        student, teacher = (
            AutoModelForCausalLM.from_pretrained(job[which], dtype=torch.bfloat16) for which in ("weights", "teacher")
        )
        tokenizer = AutoTokenizer.from_pretrained(job["weights"])
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        trainer = Counted(
            model=student,
            teacher_model=teacher,
            args=config,
            train_dataset=Dataset.from_list(chats),
            processing_class=tokenizer,
            callbacks=[Turns()],
        )
        print("@ready", flush=True)
        trainer.train()


if __name__ == "__main__":
    main()
