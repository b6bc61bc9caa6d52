"""Adapters of the published tables of image models."""

import pytest
from table_rows import TIMM, only, rows

from benchmarks.tables import (
    gpumemnet,
    lambda_agg,
    pycls,
    ryujaehun,
    timm_infer,
    timm_train,
)
from planner.validate.cases import (
    Case,
    Refused,
)


def test_timm_train_gives_a_step_and_the_batch_that_failed():
    ran, failed = timm_train.cases(rows(TIMM))
    assert (ran.model, ran.gpu, ran.precision, ran.memory_format) == (
        "timm:resnet50",
        "rtx-3090",
        "amp_fp16",
        "channels_last",
    )
    assert ran.step_seconds == pytest.approx(0.48) and ran.micro_batch == 384 and not ran.oom
    assert failed.oom and failed.micro_batch == 512 and failed.step_seconds is None


def test_timm_infer_is_a_forward_pass():
    case = only(
        timm_infer.cases(
            rows(
                "model,img_size,batch_size,infer_samples_per_s,infer_step_ms,params_M,fwd_gmacs,fwd_macts_M,gpu,precision,memory_format,torch,cuda,torch_compile,source\n"
                "resnet50,224,256,2560,100,25.6,,,NVIDIA GeForce RTX 5090,pure "
                "bfloat16,contiguous (NCHW),2.9.1,12,yes (inductor),s\n"
            )
        )
    )
    assert (case.measures, case.precision, case.compile, case.step_seconds) == (
        "forward",
        "bf16",
        True,
        0.1,
    )


def test_gpumemnet_runs_that_stop_growing_failed():
    sizes = {"8": 5623, "16": 5623, "32": 9000}
    lines = "".join(
        f"sam,{batch},{size},no,no,NVIDIA A100 40GB,s\n" for batch, size in sizes.items()
    )
    lines += (
        "vit,8,2000,no,no,NVIDIA A100 40GB,s\nvit,16,2500,no,no,NVIDIA A100 "
        "40GB,s\nvit,32,2100,no,no,NVIDIA A100 40GB,s\n"
    )
    items = list(
        gpumemnet.cases(
            rows(
                "model_timm,batch_size,max_gpu_mem_MiB,near_40GB_limit,larger_than_next_batch,gpu,source\n"
                + lines
            )
        )
    )
    assert [i.id for i in items if isinstance(i, Case)] == ["gpumemnet.vit.b8", "gpumemnet.vit.b16"]


def test_gpumemnet_refuses_what_its_source_flags():
    head = (
        "model_timm,batch_size,max_gpu_mem_MiB,near_40GB_limit,larger_than_next_batch,gpu,source\n"
    )
    items = list(
        gpumemnet.cases(
            rows(
                head + "resnet50,128,15169,no,no,NVIDIA A100 40GB,s\nresnet50,64,9000,yes "
                "(x),no,NVIDIA A100 40GB,s\n"
                "resnet50,32,1,no,yes (y),NVIDIA A100 40GB,s\nresnet50,256,4000,no,no,NVIDIA "
                "A100 40GB,s\n"
            )
        )
    )
    assert only(items).peaks == (("reserved", (15169 - gpumemnet.CONTEXT_MIB) * 2**20),)
    assert sum(isinstance(i, Refused) for i in items) == 3


@pytest.mark.parametrize(
    "name, timm",
    [
        ("RegNetX-1.6GF", "timm:regnetx_016"),
        ("RegNetX-200MF", "timm:regnetx_002"),
        ("RegNetY-32GF", "timm:regnety_320"),
        ("EfficientNet-B3", "timm:efficientnet_b3"),
        ("ResNeXt-152", None),
    ],
)
def test_pycls_names(name, timm):
    assert pycls.timm_name(name) == timm


def test_pycls_runs_an_eighth_of_the_batch():
    case = only(
        pycls.cases(
            rows(
                "model,batch_size_8gpu,img_size,train_fw_time_s,train_fw_bw_time_s,gpu,source\n"
                "RegNetX-200MF,1024,224,0.024,0.0859,NVIDIA Tesla V100 16GB,s\n"
            )
        )
    )
    assert (
        case.micro_batch == 128
        and case.measures == "forward_backward"
        and case.forward_seconds == 0.024
    )


def test_ryujaehun_refuses_float64_and_data_parallel():
    head = (
        "folder,gpu,n_gpus,precision,mode,model_torchvision,img_size,median_ms,batch_size_per_gpu,"
        "source\n"
    )
    items = list(
        ryujaehun.cases(
            rows(
                head + "f,TITAN V,1,fp32,train,resnet50,224,100,12,s\nf,TITAN "
                "V,1,fp64,train,resnet50,224,100,12,s\n"
                "f,TITAN Xp,2,fp32,train,resnet50,224,100,12,s\n"
            )
        )
    )
    assert only(items).samples_per_second == pytest.approx(120)
    assert sorted(i.reason.split(":")[0] for i in items if isinstance(i, Refused)) == [
        "float64 is no training precision here",
        "torch.nn.DataParallel",
    ]


LAMBDA = (
    "results_set,system,gpu,n_gpus,task,precision,per_gpu_batch,throughput_median,"
    "peak_nvidia_smi_mem_MiB_max,oom_in_log,torch,source\n"
)


def test_lambda_fp32_is_tf32_from_ampere_on():
    new = only(
        lambda_agg.cases(
            rows(LAMBDA + "r,a,A100-SXM4-40GB,2,bert_large_squad,FP32,16,80,,no,1.7,s\n")
        )
    )
    old = only(
        lambda_agg.cases(
            rows(LAMBDA + "r,v,Tesla V100-SXM2-16GB,1,resnet50,FP32,128,350,15000,no,1.7,s\n")
        )
    )
    assert (new.precision, old.precision) == ("tf32", "fp32")
    assert new.step_seconds == pytest.approx(0.4) and new.parallel == "ddp"
    assert old.peaks == (("device", 15000 * 2**20),)


def test_lambda_idle_monitor_is_no_memory():
    idle = only(
        lambda_agg.cases(
            rows(LAMBDA + "r,v,Tesla V100-SXM2-16GB,1,resnet50,AMP,128,700,834,no,1.7,s\n")
        )
    )
    assert idle.peaks == () and idle.step_seconds
    (refused,) = lambda_agg.cases(
        rows(LAMBDA + "r,v,Tesla V100-SXM2-16GB,1,resnet50,AMP,128,,834,no,1.7,s\n")
    )
    assert isinstance(refused, Refused)


def test_lambda_names_what_it_cannot_ask():
    refused = list(
        lambda_agg.cases(
            rows(
                LAMBDA + "r,a,Mystery "
                "9000,1,resnet50,AMP,16,80,,no,1.7,s\nr,a,A100-SXM4-40GB,1,gnmt,AMP,16,80,,no,1.7,s\n"
            )
        )
    )
    assert (
        all(isinstance(r, Refused) for r in refused)
        and "Mystery 9000" in refused[0].reason
        and "gnmt" in refused[1].reason
    )
