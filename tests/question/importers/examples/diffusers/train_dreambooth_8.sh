accelerate launch train_dreambooth.py \
  --class_data_dir=path-to-class-images \
  '--class_prompt=a photo of dog' \
  --gradient_accumulation_steps=1 \
  --instance_data_dir=dog \
  '--instance_prompt=a photo of sks dog' \
  --learning_rate=5e-6 \
  --lr_scheduler=constant \
  --lr_warmup_steps=0 \
  --max_train_steps=800 \
  --num_class_images=200 \
  --output_dir=path-to-save-model \
  --pretrained_model_name_or_path=CompVis/stable-diffusion-v1-4 \
  --prior_loss_weight=1.0 \
  --push_to_hub \
  --resolution=512 \
  --train_batch_size=1 \
  --with_prior_preservation
