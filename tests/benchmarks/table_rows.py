"""Rows as the published tables have them."""

import csv
import io

from planner.validate.cases import Case


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def only(items, kind=Case):
    found = [i for i in items if isinstance(i, kind)]
    assert len(found) == 1, found
    return found[0]


TIMM = """model,img_size,batch_size,train_samples_per_s,train_step_ms,params_M,gpu,precision,\
memory_format,torch,cuda,torch_compile,optimizer,loss,activation_ckpt,source,fwd_gmacs_same_img,\
fwd_macts_M_same_img,next_larger_batch_tried_and_failed
resnet50,224,384,800,480,25.6,NVIDIA GeForce RTX 3090,AMP float16 (fp32 weights),channels_last,\
1.12,11.3,no,SGD,CrossEntropy,no,repo@abc file.csv,4.1,11.1,512
"""
