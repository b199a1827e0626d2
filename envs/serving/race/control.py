"""Race control: who is there and has a car; every order to the server is given here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from donkey_rl.envs.link import commands, reports
from donkey_rl.envs.serving.orders import (
    Announce,
    Block,
    CarState,
    HangUp,
    Order,
    PlaceCar,
    Release,
    RemoveCar,
    Send,
    SpawnCar,
)
from donkey_rl.envs.serving.race import records
from donkey_rl.envs.serving.race.checkpoints import Course, Watch
from donkey_rl.envs.serving.race.config import RaceRules
from donkey_rl.envs.serving.race.records import Competitor, Evening


@dataclasses.dataclass
class Entry:
    """A client.

    Attributes:
        identity: The competitor that it is, None before `racer_info`.
        configured: Whether `car_config` has come.
        refused: What it said of itself, while another has that name.
    """

    identity: str | None = None
    configured: bool = False
    refused: commands.RacerInfo | None = None


class RaceControl:
    """Knows clients and cars; stages decide through it.

    Attributes:
        rules: The rules.
        course: The course.
        evening: What the evening has come to.
        now: Simulation time (s).
        slots: Who has a car, and from which slot of the grid it starts.
        orders: For the server, in order.
    """

    def __init__(
        self,
        rules: RaceRules,
        course: Course,
        evening: Evening,
        save: Callable[[Evening], bool],
    ) -> None:
        """Begins with nobody there.

        Args:
            rules: The rules.
            course: The course.
            evening: A new evening, or one to be continued.
            save: Keeps the evening and returns whether that could be done; called whenever
                something was decided.
        """
        self.rules = rules
        self.course = course
        self.evening = evening
        self.now = 0.0
        self.slots: dict[str, int] = {}
        self.orders: list[Order] = []
        self._save = save
        self._unsaved_since: float | None = None
        self._entries: dict[int, Entry] = {}
        self._clients: dict[str, int] = {}
        # Who is known from an evening before a crash is on its way back.
        self._changed_at = {each.identity: self.now for each in evening.competitors}

    def save(self) -> None:
        """Keeps the evening as it is now."""
        self._unsaved_since = None if self._save(self.evening) else self.now

    def save_again(self, after_s: float = 0.0) -> None:
        """Keeps what could not be kept, if there is something and so long ago."""
        since = self._unsaved_since
        if since is not None and self.now - since >= after_s:
            self.save()

    def present(self) -> list[Competitor]:
        """Returns the competitors who could have a car now, in the order of their registration."""
        return [each for each in self.evening.competitors if self.is_present(each.identity)]

    def is_present(self, who: str) -> bool:
        """Whether a competitor is connected and has configured its car."""
        client = self._clients.get(who)
        return client is not None and self._entries[client].configured

    def is_expected(self, who: str) -> bool:
        """Whether a competitor is present, or has left a moment ago and may be back at once."""
        since = self.now - self._changed_at.get(who, float("-inf"))
        return self.is_present(who) or since < self.rules.absent_s

    def connect(self, client: int) -> None:
        """Asks a new client who it is."""
        self._entries[client] = Entry()
        self.orders.append(Send(client, reports.NeedCarConfig()))

    def disconnect(self, client: int) -> str | None:
        """Forgets a client; returns the competitor who has left with it."""
        entry = self._entries.pop(client, None)
        who = None if entry is None else entry.identity
        if who is None:
            return None
        del self._clients[who]
        self._changed_at[who] = self.now
        # The server has taken the car away with the client.
        self.slots.pop(who, None)
        self.announce(f"{self.evening.name_of(who)} has left.")
        return who

    def waiting(self, who: str) -> tuple[int, commands.RacerInfo] | None:
        """Returns a client that was refused while another was this competitor, if there is one."""
        for client, entry in self._entries.items():
            refused = entry.refused
            if entry.identity is None and refused is not None and records.identify(refused) == who:
                return client, refused
        return None

    def silent(self, is_silent: Callable[[int], bool]) -> list[str]:
        """Returns the competitors whose connection has said nothing for long."""
        return [who for who, client in self._clients.items() if is_silent(client)]

    def configure(self, client: int) -> str | None:
        """Notes a `car_config`; returns the competitor who may have a car from now on."""
        entry = self._entries.get(client)
        if entry is None or entry.configured:
            return None
        entry.configured = True
        return entry.identity

    def introduce(
        self,
        client: int,
        info: commands.RacerInfo,
        is_silent: Callable[[int], bool],
    ) -> tuple[str | None, str | None]:
        """Takes a `racer_info`.

        Args:
            client: Who says it.
            info: What it says.
            is_silent: Whether a client has said nothing for so long that it may be dead.

        Returns:
            Who has lost its former connection by that, and who may have a car from now on.
        """
        entry = self._entries.get(client)
        if entry is None or entry.identity is not None:
            return None, None
        who = records.identify(info)
        if self.evening.find(who) is None and not self._register(info):
            return None, None
        former = self._clients.get(who)
        if former is not None:
            if who.startswith("name:") and not is_silent(former):
                name = self.evening.name_of(who)
                self.announce(f"{name} is here already: a guid of its own tells racers apart.")
                entry.refused = info
                return None, None
            # A connection can be dead without a sign; the newer one is the racer.
            self.remove(who)
            self._entries[former].identity = None
            self.orders.append(HangUp(former))
        self._clients[who] = client
        self._changed_at[who] = self.now
        entry.identity = who
        self.announce(f"{self.evening.name_of(who)} is here.")
        return (None if former is None else who), (who if entry.configured else None)

    def _register(self, info: commands.RacerInfo) -> bool:
        competitor = records.register(info)
        known = self.evening.competitors
        if not self.evening.is_open:
            self.announce(f"{competitor.name} is too late: the races have begun.")
            return False
        if len(known) >= self.rules.most_competitors and not self._make_room():
            self.announce(f"{competitor.name} is not taken: {len(known)} are registered.")
            return False
        known.append(competitor)
        self.save()
        return True

    def _make_room(self) -> bool:
        """Forgets whoever has been away for longest and never drove; returns whether one has."""
        gone = [
            each
            for each in self.evening.competitors
            if not (each.practice_s or each.attempts or each.identity in self._clients)
        ]
        if not gone:
            return False
        longest = min(gone, key=lambda each: self._changed_at.get(each.identity, 0.0))
        self.evening.competitors.remove(longest)
        self._changed_at.pop(longest.identity, None)
        self.announce(f"{longest.name} never drove and is away: somebody new takes the place.")
        return True

    def who(self, client: int) -> str | None:
        """Returns the competitor that a client is."""
        entry = self._entries.get(client)
        return None if entry is None else entry.identity

    def cars_of(self, cars: Mapping[int, CarState]) -> dict[str, CarState]:
        """Returns the cars of competitors, by these."""
        found = {self.who(client): state for client, state in cars.items()}
        return {who: state for who, state in found.items() if who in self.slots}

    def announce(self, text: str) -> None:
        """Says something to the audience."""
        self.orders.append(Announce(text))

    def send(self, who: str, report: reports.Report) -> None:
        """Tells a competitor something, if it is there."""
        client = self._clients.get(who)
        if client is not None:
            self.orders.append(Send(client, report))

    def spawn(self, who: str, *, slot: int | None = None, blocked: bool = True) -> None:
        """Gives a competitor a car, if it is there and has none.

        Args:
            who: The competitor.
            slot: Of the grid; the first free one by default.
            blocked: Whether its controls do not count yet.
        """
        if not self.is_present(who) or who in self.slots:
            return
        if slot is None:
            taken = set(self.slots.values())
            slot = next(k for k in range(len(taken) + 1) if k not in taken)
        self.slots[who] = slot
        client = self._clients[who]
        self.orders.append(SpawnCar(client, slot))
        if blocked:
            self.orders.append(Block(client))

    def put_back(self, who: str) -> None:
        """Puts a car on its slot again."""
        if who in self.slots:
            self.orders.append(PlaceCar(self._clients[who], self.slots[who]))

    def release(self, who: str) -> None:
        """Go: the controls of a car count from now on."""
        if who in self.slots:
            self.orders.append(Release(self._clients[who]))
            self.send(who, reports.RaceStart())

    def remove(self, who: str) -> None:
        """Takes a car away."""
        if self.slots.pop(who, None) is not None:
            self.orders.append(RemoveCar(self._clients[who]))

    def clear(self) -> None:
        """Takes all cars away."""
        for who in list(self.slots):
            self.send(who, reports.RaceStop())
            self.remove(who)

    def look(self, who: str, watch: Watch, car: CarState | None) -> None:
        """Looks where a watched car is, and tells its racer what came of it."""
        if watch.over:
            return
        for lap in watch.advance(self.now, car):
            self.send(who, reports.CrossStart(lap))
            if lap > 0.0:
                self.announce(f"{self.evening.name_of(who)}: a lap of {lap:.3f} s.")
        if watch.fault is not None:
            self.disqualify(who, watch.fault)

    def disqualify(self, who: str, fault: records.Fault) -> None:
        """Says that a racer is disqualified."""
        self.announce(f"{self.evening.name_of(who)} is disqualified: {fault}.")
        self.send(who, reports.Disqualified(fault != "out of bounds"))
