local monitor = { monitor: 'val/macro_auroc', mode: 'max' };

{
  checkpoint: {
    class_path: 'graphids.core.callbacks.Sha256ModelCheckpoint',
    init_args: monitor {
      filename: 'epoch={epoch}',
      auto_insert_metric_name: false,
      save_top_k: 1,
      save_last: true,
      // An epoch that is trained again after a kill takes the place of its checkpoint, not a name beside it.
      enable_version_counter: false,
    },
  },
  resumable_fit(seed): {
    class_path: 'graphids.core.callbacks.ResumableFit',
    init_args: { seed: seed },
  },
  early_stopping(patience): {
    class_path: 'lightning.pytorch.callbacks.EarlyStopping',
    init_args: monitor { patience: patience, min_delta: 0.0002 },
  },
  progress_bar: {
    class_path: 'graphids.core.callbacks.EpochProgress',
    // A step takes milliseconds, and drawing one takes time too.
    init_args: { refresh_rate: 20 },
  },
  vram_drift(threshold): {
    class_path: 'graphids.core.callbacks.VRAMDriftCallback',
    init_args: { threshold: threshold },
  },
  tau_norm(tau): {
    class_path: 'graphids.core.callbacks.TauNormCallback',
    // Callbacks never reach data; the configuration hands over the function that tau='auto' asks.
    init_args: { tau: tau, choose_tau: 'graphids.assessment.tau_sweep.choose_tau' },
  },
  mlflow: {
    class_path: 'graphids._mlflow.MLflowTrainingCallback',
    // graphids never imports the flavor; the configuration hands over the function that saves the model.
    init_args: { save_model: 'mlflow_graphids.save_model' },
  },
}
