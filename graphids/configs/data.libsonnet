function(data, inject, hold_out, window, stride, batch_size, seed) {
  data: data,
  inject: inject,
  hold_out: hold_out,
  window_size: window,
  stride: stride,
  batch_size: batch_size,
  seed: seed,
  split: 'auto',
}
