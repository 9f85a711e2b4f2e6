function(max_epochs, accelerator, devices, precision) {
  max_epochs: max_epochs,
  accelerator: accelerator,
  devices: devices,
  precision: precision,
  // Attention over a hub node now and then gives a gradient many times the usual.
  gradient_clip_val: 1.0,
  // CUDA has no deterministic kernel for some scatters; 'warn' names them, CPU runs are bit-equal.
  deterministic: 'warn',
  // Lightning's own MLFlowLogger ends the run after fit and counts batches; MLflowTrainingCallback logs epochs.
  logger: false,
  // It lists the metrics as layers; EpochProgress prints the network's size.
  enable_model_summary: false,
  plugins: [{ class_path: 'graphids.core.callbacks.DigestCheckpointIO' }],
  num_sanity_val_steps: 0,
  // The data module's own sampler gives every process its share.
  use_distributed_sampler: false,
  // Each run makes a folder of its own in it, named by its run id.
  default_root_dir: 'graphids_runs',
}
