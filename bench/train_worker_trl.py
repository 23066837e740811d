"""TRL's SFTTrainer as a contender of `bench.train`, run by the Python of an environment that has trl and peft.

    python bench/train_worker_trl.py JOB.json

The job: {"weights": folder, "steps": [[{"tokens", "mask"}, …], …], "learning_rate", "lora": rank or 0, "batch": rows a
forward pass, "padding_free", "defaults": bool}. The trainer is TRL's own and unchanged; it waits before each step for a
line on standard input and answers with one of JSON, so that contenders can take turns. Nothing of ours is imported.
"""

import json
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any


def main() -> None:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    warnings.simplefilter("ignore")
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    rows = [row for step in job["steps"] for row in step]
    per_step = len(job["steps"][0])

    class Turns(TrainerCallback):  # type: ignore[misc]
        """A step begins when it is this contender's turn."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if not sys.stdin.readline():
                sys.exit("the bench is gone")
            self.wall, self.processor = time.perf_counter(), time.process_time()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.took = time.perf_counter() - self.wall, time.process_time() - self.processor

        def on_log(self, *_: Any, logs: Any = None, **__: Any) -> None:
            if logs and "loss" in logs:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
                said = {"wall": self.took[0], "processor": self.took[1], "loss": float(logs["loss"]), "gigabytes": peak}
                print("@" + json.dumps(said), flush=True)

    tuned = {} if job["defaults"] else {"bf16": True, "gradient_checkpointing": False}
    with tempfile.TemporaryDirectory() as scratch:
        config = SFTConfig(
            output_dir=scratch,
            max_length=None,
            per_device_train_batch_size=job["batch"],
            gradient_accumulation_steps=per_step // job["batch"],
            num_train_epochs=1,
            learning_rate=job["learning_rate"],
            lr_scheduler_type="cosine",
            warmup_steps=0,
            adam_beta2=0.99,
            max_grad_norm=1.0,
            weight_decay=0.0,
            shuffle_dataset=False,
            train_sampling_strategy="sequential",
            completion_only_loss=True,
            padding_free=job["padding_free"],
            logging_steps=1,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            **tuned,
        )
        dtype = torch.float32 if job["defaults"] else torch.bfloat16
        model = AutoModelForCausalLM.from_pretrained(job["weights"], dtype=dtype)
        lora = LoraConfig(r=job["lora"], lora_alpha=2 * job["lora"], target_modules="all-linear", task_type="CAUSAL_LM")
        trainer = SFTTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_list(
                [{"input_ids": row["tokens"], "completion_mask": [int(m) for m in row["mask"]]} for row in rows]
            ),
            processing_class=AutoTokenizer.from_pretrained(job["weights"]),
            peft_config=lora if job["lora"] else None,
            callbacks=[Turns()],
        )
        print("@ready", flush=True)
        trainer.train()


if __name__ == "__main__":
    main()
