accelerate launch train_dreambooth_flux.py \
  --gradient_accumulation_steps=4 \
  --guidance_scale=1 \
  --instance_data_dir=dog \
  '--instance_prompt=a photo of sks dog' \
  --learning_rate=1. \
  --lr_scheduler=constant \
  --lr_warmup_steps=0 \
  --max_train_steps=500 \
  --mixed_precision=bf16 \
  --optimizer=prodigy \
  --output_dir=trained-flux \
  --pretrained_model_name_or_path=black-forest-labs/FLUX.1-dev \
  --push_to_hub \
  --report_to=wandb \
  --resolution=1024 \
  --seed=0 \
  --train_batch_size=1 \
  --validation_epochs=25 \
  '--validation_prompt=A photo of sks dog in a bucket'
