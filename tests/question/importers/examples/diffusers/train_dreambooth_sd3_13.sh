accelerate launch train_dreambooth_sd3.py \
  --gradient_accumulation_steps=4 \
  --instance_data_dir=dog \
  '--instance_prompt=a photo of sks dog' \
  --learning_rate=1e-4 \
  --lr_scheduler=constant \
  --lr_warmup_steps=0 \
  --max_train_steps=500 \
  --mixed_precision=fp16 \
  --output_dir=trained-sd3 \
  --pretrained_model_name_or_path=stabilityai/stable-diffusion-3-medium-diffusers \
  --push_to_hub \
  --report_to=wandb \
  --resolution=1024 \
  --seed=0 \
  --train_batch_size=1 \
  --validation_epochs=25 \
  '--validation_prompt=A photo of sks dog in a bucket'
