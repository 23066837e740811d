. /tmp/env.sh; cd /tmp/exp
/tmp/bin/mine tr2.py lora --ep 2 --tpb 1536 --lr 1e-3 --lora 32 >x7.log 2>&1
/tmp/bin/mine ev.py lora 1 >>x7.log 2>&1
/tmp/bin/mine tr2.py n190 --ep 2 --tpb 1536 --lr 3e-4 --data /tmp/exp/d190 >>x7.log 2>&1
/tmp/bin/mine ev.py n190 0.75 >>x7.log 2>&1
