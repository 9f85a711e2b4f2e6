function(data, window, stride, batch_size, seed) {
  data: data,
  window_size: window,
  stride: stride,
  batch_size: batch_size,
  seed: seed,
  split: 'auto',
}
