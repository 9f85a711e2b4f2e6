"""What a run publishes beside its network: the profile of the vehicle that it was trained on, if there is one."""

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
