accelerate launch train_dreambooth_lora_sd3.py \
  --dataset_name=Norod78/Yarn-art-style \
  --gradient_accumulation_steps=1 \
  '--instance_prompt=a photo of TOK yarn art dog' \
  --learning_rate=1.0 \
  --lr_scheduler=constant \
  --lr_warmup_steps=0 \
  --max_train_steps=1500 \
  --optimizer=prodigy \
  --output_dir=trained-sd3-lora \
  --pretrained_model_name_or_path=stabilityai/stable-diffusion-3-medium-diffusers \
  --push_to_hub \
  --rank=32 \
  --report_to=wandb \
  --resolution=1024 \
  --seed=0 \
  --text_encoder_lr=1.0 \
  --train_batch_size=1 \
  --train_text_encoder
