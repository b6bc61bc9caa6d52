"""Each adapter on a few rows in its table's own format."""

import pytest
from table_rows import only, rows

from benchmarks.tables import (
    hf_docs,
    litgpt,
    litgpt_thunder,
    llmfoundry,
    measured_runs,
    nvidia_dle,
    pretrain_misc,
    torchtitan,
    torchtune,
    vtrain,
    zeus,
)
from planner.validate.cases import (
    Refused,
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
