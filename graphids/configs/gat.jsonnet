// A training run as a function of the project's parameters. Dotted overrides (--model.heads 8) apply after it.
local callbacks = import 'callbacks.libsonnet';
local captures = import 'data.libsonnet';
local model = import 'model.libsonnet';
local trainer = import 'trainer.libsonnet';

function(
  data,
  tau,
  inject,
  hold_out,
  seed,
  max_epochs,
  patience,
  batch_size,
  lr,
  window,
  stride,
  accelerator,
  devices,
  precision,
  vram_threshold,
) {
  seed_everything: seed,
  trainer: trainer(max_epochs, accelerator, devices, precision) {
    callbacks: [
      // First: what another callback raises then finds the step's state noted.
      callbacks.resumable_fit(seed),
      callbacks.checkpoint,
      callbacks.early_stopping(patience),
      callbacks.progress_bar,
      callbacks.vram_drift(vram_threshold),
      // The order of these two is the contract: the model is what tau-normalization leaves behind.
      callbacks.tau_norm(tau),
      callbacks.mlflow,
    ],
  },
  model: model(lr),
  data: captures(data, inject, hold_out, window, stride, batch_size, seed),
}
