"""Each adapter on a few rows in its table's own format."""

import csv
import io

import pytest

from benchmarks import tables
from benchmarks.tables import (
    gpumemnet,
    hf_docs,
    lambda_agg,
    litgpt,
    litgpt_thunder,
    llmfoundry,
    measured_runs,
    nvidia_dle,
    pretrain_misc,
    pycls,
    ryujaehun,
    timm_infer,
    timm_train,
    torchtitan,
    torchtune,
    vtrain,
    zeus,
)
from planner.validate.cases import (
    COLUMNS,
    Case,
    Refused,
    family_of,
    from_rows,
    split_of,
    to_csv,
    unique,
)


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


def test_hf_docs_step_spans_the_accumulation():
    head = (
        "model,gpu,seq_len,step,gpu_mem_MB,batch_size,grad_accum,grad_ckpt,precision,optimizer,"
        "time_s,samples_per_s,source\n"
    )
    items = list(
        hf_docs.cases(
            rows(
                head
                + "bert,NVIDIA V100-SXM2 16GB,512,accum,8681,1,4,yes,fp16 AMP,bnb Adam8bit,66,8,s\n"
                "bert,NVIDIA V100-SXM2 16GB,512,CUDA context only (x),1343,,,,,,,,s\n"
            )
        )
    )
    case = only(items)
    assert case.step_seconds == pytest.approx(0.5) and case.accumulation == 4
    assert (case.optimizer, case.gradient_checkpointing, case.precision, case.gpu) == (
        "adamw_8bit",
        "full",
        "amp_fp16",
        "v100-sxm2-16",
    )
    assert case.peaks == (("reserved", (8681 - 1343) * 2**20),)


def test_litgpt_keeps_out_of_memory_as_a_fact():
    head = (
        "strategy,params_B,model,quantization,micro_batch_size,n_gpus,gpu,peak_mem_GB,oom_or_na,longest_example_tokens,"
        "time_1k_iters_min,source\n"
    )
    items = list(
        litgpt.cases(
            rows(
                head + "lora,7,Llama 2,None,4,1,NVIDIA A100-SXM4-40GB,,OOM,1304,,s\n"
                "qlora,3,StableLM Alpha,bnb.nf4,1,1,NVIDIA A100-SXM4-40GB,6.35,,1034,1.82,s\n"
                "adapter,7,Llama 2,None,1,1,NVIDIA A100-SXM4-40GB,20,,1304,1,s\n"
                "lora,7,Llama 2,None,1,2,NVIDIA A100-SXM4-40GB,22.18,,1304,5.93,s\n"
            )
        )
    )
    oom, quantised, timed, refused, sharded = items
    assert oom.oom and not oom.peaks and oom.model == "Llama-2-7b"
    assert (
        quantised.peaks == (("allocated", 6_350_000_000),)
        and quantised.architecture["kind"] == "causal:gpt_neox"
    )
    assert (
        timed.step_seconds == pytest.approx(1.82 * 60 / 1000 * 128)
        and not timed.peaks
        and timed.sequence_length == litgpt.MEAN_TOKENS
    )
    assert (
        isinstance(refused, Refused) and sharded.parallel == "fsdp" and sharded.accumulation == 64
    )


def test_thunder_takes_eager_rows():
    head = "model,setting,compiler,executors,n_gpus,gpu,ms_per_iter,peak_mem_GB,source\n"
    items = list(
        litgpt_thunder.cases(
            rows(
                head + "TinyLlama-1.1B,Replicated,Eager,-,8,NVIDIA A100-SXM4-40GB,569.46,32.04,s\n"
                "TinyLlama-1.1B,-,Thunder,sdpa,1,NVIDIA A100-SXM4-40GB,373,22,s\n"
            )
        )
    )
    assert only(items).parallel == "ddp" and only(items).samples_per_second == pytest.approx(
        32 / 0.56946
    )


def test_torchtune_needs_batch_and_length():
    head = (
        "readme_date,n_gpus,gpu,method,model,setting,peak_mem_per_gpu,tokens_per_s,notes,source\n"
    )
    items = list(
        torchtune.cases(
            rows(
                head + '2024-05-09,1,NVIDIA RTX 4090,QLoRA,Llama2-7B,"Batch Size = 4, Seq Length = '
                '2048",12.3,3155,uses torch.compile,s\n'
                "2024-02-08,2,NVIDIA RTX 4090,LoRA,Llama2 7B,config x.yaml,18,,,s\n"
            )
        )
    )
    case = only(items)
    assert (case.strategy, case.compile, case.lora_rank) == (
        "qlora",
        True,
        8,
    ) and case.step_seconds == pytest.approx(8192 / 3155)


def test_torchtitan_is_sharded():
    head = (
        "model,n_gpus,gpu,techniques,local_batch,seq_len,act_ckpt,torch_compile,float8,"
        "tokens_per_s_per_gpu,peak_mem_GiB_per_gpu,note,peak_mem_GB,source\n"
    )
    case = only(
        torchtitan.cases(rows(head + "Llama 2 13B,64,NVIDIA A100 80GB,,2,4096,no,,,2162,,,,s\n"))
    )
    assert case.parallel == "fsdp" and case.step_seconds == pytest.approx(8192 / 2162)


def test_llmfoundry_step_spans_gpus_and_micro_batches():
    head = (
        "model,d_model,n_layers,n_heads,vocab_size,seq_len,n_gpus,gpu,micro_batch_size,grad_accum,"
        "throughput_tokens_per_s,precision,act_ckpt,act_cpu_offload,source\n"
    )
    case = only(
        llmfoundry.cases(
            rows(head + "mpt-1b,2048,24,16,50368,2048,8,a100_40gb,8,8,154171,bf16,False,False,s\n")
        )
    )
    assert (
        case.step_seconds == pytest.approx(8 * 8 * 8 * 2048 / 154171)
        and case.architecture["n_embd"] == 2048
        and case.precision == "bf16"
    )


def test_vtrain_keeps_data_parallel_rows():
    head = (
        "n_gpus,global_batch_size,micro_batch_size,hidden_size,n_heads,n_layers,sequence_length,"
        "tensor_parallel,data_parallel,pipeline_parallel,iteration_ms,gpu,source\n"
    )
    items = list(
        vtrain.cases(
            rows(
                head
                + "4,32,2,2048,16,16,1024,1,4,1,406.3,A100,s\n"
                + "2,16,8,1024,16,24,1024,1,1,2,372.1,A100,s\n"
            )
        )
    )
    assert only(items).accumulation == 4 and only(items).gpus == 4


def test_zeus_turns_epochs_into_steps():
    head = (
        "gpu,n_gpus,dataset,model,batch_size,optimizer,power_limit_W,time_per_epoch_s,"
        "is_max_power_limit,source\n"
    )
    items = list(
        zeus.cases(
            rows(
                head + "NVIDIA V100,,imagenet,resnet50,128,adadelta,250,3603.6,yes,s\nNVIDIA "
                "V100,,imagenet,resnet50,128,adadelta,100,9000,no,s\n"
            )
        )
    )
    assert only(items).step_seconds == pytest.approx(3603.6 * 128 / 1_281_167)


def test_nvidia_micro_batch_out_of_accumulation():
    head = (
        "model_dir,gpu,n_gpus,batch_per_gpu_raw,grad_accum_raw,seq_len,precision,metric,value,"
        "source\n"
    )
    case = only(
        nvidia_dle.cases(
            rows(
                head + "PyTorch/LanguageModeling/BERT,V100 32GB,1,4096 and 4096,128 and "
                "64,128,mixed (AMP),train_throughput,224.0,s\n"
            )
        )
    )
    assert (
        case.micro_batch == 64
        and case.task == "masked_lm"
        and case.step_seconds == pytest.approx(64 / 224)
    )


def test_nanogpt_compiled_or_not():
    head = "model,note,source\n"
    cases = list(
        pretrain_misc.cases(
            rows(
                head + "GPT-2 124M nanoGPT bench.py default,torch.compile: 135 ms/iter (GPU not "
                "stated),s\n"
                "GPT-2 124M nanoGPT bench.py default,no torch.compile: ~250 ms/iter,s\n"
            )
        )
    )
    assert [(c.compile, c.step_seconds) for c in cases] == [(True, 0.135), (False, 0.25)]


RUNS = (
    "run_id,status,model,architecture,strategy,precision,batch_size,sequence_length,image_size,gradient_checkpointing,attention,optimizer,compile,lora_rank,"
    "lora_targets,unfrozen_blocks,num_classes,step_ms_median,forward_ms_median,peak_allocated_bytes,peak_reserved_bytes,device,note\n"
)


def test_measured_runs_in_the_planners_terms():
    text = RUNS + (
        'a,ok,llama-x,"{""kind"": ""llama"", ""hidden_size"": '
        '64}",lora,bf16,4,512,,True,sdpa,adamw,False,16,,0,,120.5,30.1,1000,2000,NVIDIA H200,\n'
        'b,oom,t5-base,"{""kind"": '
        '""t5""}",full,bf16,8,512,,False,sdpa,adamw8bit,False,16,"[\'q\', '
        "'v']\",0,,,,,,NVIDIA H200,\n"
        'c,error,x,"{""kind"": '
        '""timm""}",full,bf16,8,,224,False,sdpa,adamw,False,16,,0,,,,,,NVIDIA H200,boom\n'
        'd,ok,vit_base,"{""kind"": '
        '""timm""}",partial,amp_bf16,8,,224,False,sdpa,sgd,True,16,,4,,50,,1,2,NVIDIA H200,\n'
    )
    assert measured_runs.is_measured_runs(list(rows(text)[0]))
    lora, oom, refused, partial = measured_runs.cases(rows(text))
    assert (
        lora.lora_targets == measured_runs.LORA_TARGETS
        and lora.gradient_checkpointing == "full"
        and lora.gpu == "h200-sxm"
    )
    assert dict(lora.peaks) == {
        "allocated": 1000,
        "reserved": 2000,
    } and lora.step_seconds == pytest.approx(0.1205)
    assert (
        oom.oom
        and oom.target_length == 128
        and oom.optimizer == "adamw_8bit"
        and oom.lora_rank is None
        and oom.strategy == "fine_tune"
    )
    assert isinstance(refused, Refused) and "boom" in refused.reason
    assert (
        partial.strategy,
        partial.unfrozen_blocks,
        partial.classes,
        partial.memory_format,
        partial.optimizer,
    ) == (
        "partial_fine_tune",
        4,
        1000,
        "contiguous",
        "sgd_momentum",
    )


def test_every_registered_adapter_imports_and_names_one_file():
    assert len(set(tables.TABLES.values())) == len(tables.TABLES)
    assert tables.present(pytest.importorskip("pathlib").Path("/nonexistent")) == []


def test_published_rows_survive_a_round_trip():
    cases = [
        *timm_train.cases(rows(TIMM)),
        *litgpt.cases(
            rows(
                "strategy,params_B,model,quantization,micro_batch_size,n_gpus,gpu,peak_mem_GB,oom_or_na,longest_example_tokens,source\n"
                "qlora,3,StableLM Alpha,bnb.nf4,1,1,NVIDIA A100-SXM4-40GB,6.35,,1034,s\n"
            )
        ),
    ]
    again = list(from_rows(rows(to_csv(cases))))
    assert again == cases
    assert list(rows(to_csv(cases))[0]) == list(COLUMNS)


def test_repeated_ids_get_a_number():
    one = next(iter(timm_train.cases(rows(TIMM))))
    assert [c.id for c in unique([one, one])] == [one.id, f"{one.id}-2"]


@pytest.mark.parametrize(
    "model, family",
    [
        ("timm:tf_efficientnet_b3_ns", "efficientnet"),
        ("timm:seresnext50_32x4d", "resnet"),
        ("Llama-2-7b", "llama"),
        ("TinyLlama-1.1B", "llama"),
        ("bert-large-uncased", "bert"),
        ("timm:maxvit_tiny_224", "vit"),
        ("t5-base", "t5"),
        ("timm:halonet50ts", "halonet"),
        ("gpt-h1024-l12", "gpt"),
    ],
)
def test_families_of_one_kin(model, family):
    assert family_of(model) == family


def test_the_split_is_stable():
    assert {f: split_of(f) for f in ("bert", "llama", "resnet", "gpt", "vit", "regnet")} == {
        "bert": "fit",
        "llama": "fit",
        "resnet": "fit",
        "gpt": "holdout",
        "vit": "holdout",
        "regnet": "holdout",
    }
