accelerate launch --mixed_precision=fp16 train_text_to_image_lora.py \
  --caption_column=text \
  --checkpointing_steps=5000 \
  --dataset_name=lambdalabs/naruto-blip-captions \
  --learning_rate=1e-04 \
  --lr_scheduler=constant \
  --lr_warmup_steps=0 \
  --num_train_epochs=100 \
  --output_dir=sd-naruto-model-lora \
  --pretrained_model_name_or_path=CompVis/stable-diffusion-v1-4 \
  --random_flip \
  --report_to=wandb \
  --resolution=512 \
  --seed=42 \
  --train_batch_size=1 \
  '--validation_prompt=cute dragon creature'
