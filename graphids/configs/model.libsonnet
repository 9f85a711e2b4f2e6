function(lr) {
  size: 'small',
  loss: 'class_weighted',
  lr: lr,
}
