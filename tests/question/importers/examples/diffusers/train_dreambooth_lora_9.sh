accelerate launch train_dreambooth_lora.py \
  --checkpointing_steps=100 \
  --gradient_accumulation_steps=1 \
  --instance_data_dir=dog \
  '--instance_prompt=a photo of sks dog' \
  --learning_rate=1e-4 \
  --lr_scheduler=constant \
  --lr_warmup_steps=0 \
  --max_train_steps=500 \
  --output_dir=path-to-save-model \
  --pretrained_model_name_or_path=stable-diffusion-v1-5/stable-diffusion-v1-5 \
  --push_to_hub \
  --report_to=wandb \
  --resolution=512 \
  --seed=0 \
  --train_batch_size=1 \
  --validation_epochs=50 \
  '--validation_prompt=A photo of sks dog in a bucket'
