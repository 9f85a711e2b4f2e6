function(lr) {
  size: 'small',
  loss: 'class_weighted',
  lr: lr,
  // One a minute: a validation split of a few minutes cannot tell rarer false alarms apart.
  false_alarms_per_hour: 60.0,
}
