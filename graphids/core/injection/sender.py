"""A message as an intruder knows it: what the attacks ask of a simulated or a recorded sender."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Spoken(NamedTuple):
    """All that a message says in a drive, in the order of time, and which part of it is forged.

    Attributes:
        payload: uint8 [m, 8], what its sender says.
        release: int64 [m], ticks.
        first: Tick at which the intruder begins.
        is_forged: bool [m], the frames that the intruder sends in its place.
        intensity: In (0, 1], weight of the lie against the true value.
    """

    payload: NDArray[np.uint8]
    release: NDArray[np.int64]
    first: int
    is_forged: NDArray[np.bool_]
    intensity: float


class Sender(Protocol):
    """One message of a bus. Its place in the list of senders is the mailbox that it waits in."""

    @property
    def node_key(self) -> int:
        """Arbitration ID, bit 31 set for a 29-bit identifier."""

    @property
    def dlc(self) -> int:
        """Payload length in bytes."""

    @property
    def period(self) -> float:
        """Ticks between two of its frames."""

    @property
    def ecu(self) -> str:
        """Its ECU: whoever silences one message of an ECU silences all."""

    @property
    def is_fast(self) -> bool:
        """Whether a window holds several of its frames."""

    @property
    def is_victim(self) -> bool:
        """Whether it says something that is worth forging."""

    def forge(self, rng: np.random.Generator, said: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
        """Payloads to send beside the real ones, uint8 [count, 8].

        Args:
            rng: Draws what they say.
            said: uint8 [m, 8], all that the sender says in the drive.
            count: How many.
        """

    def lie(self, rng: np.random.Generator, spoken: Spoken, manner: str) -> NDArray[np.uint8]:
        """Payloads in place of the forged ones, uint8 [number of forged frames, 8].

        Args:
            rng: Draws what they say.
            spoken: All that the message says.
            manner: One of `attacks.MANNERS`.
        """
