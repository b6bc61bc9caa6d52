accelerate launch train_dreambooth_lora_sdxl.py \
  --gradient_accumulation_steps=4 \
  --instance_data_dir=dog \
  '--instance_prompt=a photo of sks dog' \
  --learning_rate=1e-4 \
  --lr_scheduler=constant \
  --lr_warmup_steps=0 \
  --max_train_steps=500 \
  --mixed_precision=fp16 \
  --output_dir=dog-playground-lora \
  --pretrained_model_name_or_path=playgroundai/playground-v2.5-1024px-aesthetic \
  --push_to_hub \
  --report_to=wandb \
  --resolution=1024 \
  --seed=0 \
  --train_batch_size=1 \
  --use_8bit_adam \
  --validation_epochs=25 \
  '--validation_prompt=A photo of sks dog in a bucket'
