accelerate launch train_dreambooth_lora.py \
  --checkpointing_steps=100 \
  --gradient_accumulation_steps=1 \
  --instance_data_dir=dog \
  '--instance_prompt=a sks dog' \
  --learning_rate=5e-6 \
  --max_train_steps=1200 \
  --output_dir=dreambooth_dog_lora \
  --pre_compute_text_embeddings \
  --pretrained_model_name_or_path=DeepFloyd/IF-I-XL-v1.0 \
  --report_to wandb \
  --resolution=64 \
  --scale_lr \
  --text_encoder_use_attention_mask \
  --tokenizer_max_length=77 \
  --train_batch_size=4 \
  --validation_epochs=25 \
  '--validation_prompt=a sks dog'
