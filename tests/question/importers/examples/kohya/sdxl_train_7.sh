accelerate launch --mixed_precision bf16 sdxl_train.py \
  --dataset_config dataset_config.toml \
  --learning_rate 1e-5 \
  --learning_rate_te1 5e-6 \
  --learning_rate_te2 2e-6 \
  --output_dir output \
  --output_name sdxl_finetuned \
  --pretrained_model_name_or_path sd_xl_base_1.0.safetensors \
  --train_text_encoder
