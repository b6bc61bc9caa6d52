accelerate launch --mixed_precision bf16 {script_name}.py \
  --dataset_config placeholder \
  --learning_rate 1e-5 \
  --max_train_steps 10000 \
  --optimizer_type AdamW8bit \
  --output_dir placeholder \
  --output_name placeholder \
  --pretrained_model_name_or_path placeholder \
  --save_model_as safetensors
