"""What a run publishes beside its network: the profile of the vehicle that the model is for, if there is one."""

from graphids.commands.publication import profile_of
from graphids.core.data.datamodule import CANDataModule
from support.tiny_model import three_ids_profile


def test_a_model_carries_the_profile_of_its_vehicle_and_none_where_there_were_several() -> None:
    module, own = CANDataModule(), three_ids_profile()

    assert profile_of(module) is None
    module.profiles = {"car": own}
    assert profile_of(module) is own
    module.profiles = {"car": own, "truck": three_ids_profile(seed=1)}
    assert profile_of(module) is None


def test_a_model_carries_the_profile_of_the_vehicle_that_was_held_out() -> None:
    module, own = CANDataModule(), three_ids_profile()
    module.profiles = {"car": three_ids_profile(seed=1), "truck": own}
    module.summary = {"held_out": "truck"}

    assert profile_of(module) is own


def test_a_model_of_raw_features_carries_no_profile_whatever_was_held_out() -> None:
    module = CANDataModule()
    module.summary = {"held_out": "truck"}

    assert profile_of(module) is None
