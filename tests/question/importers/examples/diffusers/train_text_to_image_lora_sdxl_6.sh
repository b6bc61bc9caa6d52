accelerate launch --config_file your accelerate_config.yaml train_text_to_image_lora_sdxl.py \
  --caption_column=text \
  --checkpointing_steps=2 \
  --dataset_name=lambdalabs/naruto-blip-captions \
  --learning_rate=1e-04 \
  --lr_scheduler=constant \
  --lr_warmup_steps=0 \
  --max_train_steps=20 \
  --mixed_precision=fp16 \
  --num_train_epochs=2 \
  --output_dir=sd-naruto-model-lora-sdxl \
  --pretrained_model_name_or_path=stabilityai/stable-diffusion-xl-base-1.0 \
  --pretrained_vae_model_name_or_path=madebyollin/sdxl-vae-fp16-fix \
  --resolution=1024 \
  --seed=1234 \
  --train_batch_size=1 \
  --validation_epochs=20 \
  '--validation_prompt=cute dragon creature'
