"""The referee of a race evening: from practice to the final order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from donkey_rl.envs.link import commands
from donkey_rl.envs.serving.orders import CarState, Order
from donkey_rl.envs.serving.race import draws
from donkey_rl.envs.serving.race.checkpoints import Course
from donkey_rl.envs.serving.race.config import RaceRules
from donkey_rl.envs.serving.race.control import RaceControl
from donkey_rl.envs.serving.race.heats import PreRace, Race
from donkey_rl.envs.serving.race.phases import Phase, Practice, Qualifying, Show
from donkey_rl.envs.serving.race.records import NO_LAP_S, Evening, Heat, Stage

_NEXT = {
    Stage.PRACTICE: Stage.QUALIFYING,
    Stage.QUALIFYING: Stage.PRE_EVENT,
    Stage.PRE_EVENT: Stage.EVENT_INTRO,
    Stage.EVENT_INTRO: Stage.COMPETITOR_INTRO,
    Stage.COMPETITOR_INTRO: Stage.STAGE_1_PRE_RACE,
    Stage.STAGE_1_PRE_RACE: Stage.STAGE_1_RACE,
    Stage.STAGE_1_RACE: Stage.STAGE_1_POST_RACE,
    Stage.STAGE_1_COMPLETED: Stage.STAGE_2_PRE_RACE,
    Stage.STAGE_2_PRE_RACE: Stage.STAGE_2_RACE,
    Stage.STAGE_2_RACE: Stage.STAGE_2_POST_RACE,
}

_SAVED_AGAIN_S = 10.0


class Referee:
    """Decides on a race evening; see `donkey_rl.envs.serving.orders.Referee`.

    Attributes:
        evening: What it has come to.
    """

    def __init__(
        self,
        rules: RaceRules,
        course: Course,
        evening: Evening,
        save: Callable[[Evening], bool],
    ) -> None:
        """Begins or continues an evening.

        Args:
            rules: The rules.
            course: The course.
            evening: A new evening, or one to be continued.
            save: Keeps the evening and returns whether that could be done; called whenever
                something was decided.
        """
        self.evening = evening
        self._control = RaceControl(rules, course, evening, save)
        self._phase = self._open(evening.stage)

    def connect(self, client: int) -> None:
        """Asks a client who it is."""
        self._control.connect(client)

    def disconnect(self, client: int) -> None:
        """Goes on without a client."""
        who = self._control.disconnect(client)
        if who is not None:
            self._phase.left(who)
            if (next_one := self._control.waiting(who)) is not None:
                self.racer_info(*next_one)

    def racer_info(
        self,
        client: int,
        info: commands.RacerInfo,
        is_silent: Callable[[int], bool] = lambda client: False,
    ) -> None:
        """Takes a competitor, or takes it again after a lost connection, see `introduce`."""
        lost, ready = self._control.introduce(client, info, is_silent)
        if lost is not None:
            self._phase.left(lost)
        if ready is not None:
            self._phase.arrived(ready)

    def relieve(self, is_silent: Callable[[int], bool]) -> None:
        """Gives places of silent connections to clients that were refused because of them."""
        for who in self._control.silent(is_silent):
            if (next_one := self._control.waiting(who)) is not None:
                self.racer_info(*next_one, is_silent)

    def car_config(self, client: int) -> None:
        """Lets a client have a car from now on."""
        who = self._control.configure(client)
        if who is not None:
            self._phase.arrived(who)

    def client_reset(self, client: int) -> None:
        """Starts the clock of a car anew, which its client has put back."""
        who = self._control.who(client)
        if who in self._control.slots:
            self._phase.reset(who)

    def advance(self, now_s: float, cars: Mapping[int, CarState]) -> None:
        """Moves the evening on."""
        control = self._control
        control.now = now_s
        if self._phase.advance(control.cars_of(cars)):
            self._enter(self._following(self.evening.stage))
        control.save_again(_SAVED_AGAIN_S)

    def close(self) -> None:
        """Keeps what could not be kept before."""
        self._control.save_again()

    def take_orders(self) -> Sequence[Order]:
        """Returns what is to be done now, once."""
        taken, self._control.orders = self._control.orders, []
        return taken

    @property
    def _heat(self) -> Heat:
        return self.evening.heats[self.evening.heat]

    def _enter(self, stage: Stage) -> None:
        evening = self.evening
        if stage is Stage.COMPLETE:
            evening.standings = draws.standings(evening)
        evening.stage = stage
        self._control.save()
        self._phase = self._open(stage)

    def _open(self, stage: Stage) -> Phase:
        """Begins a stage."""
        control, rules, evening = self._control, self._control.rules, self.evening
        match stage:
            case Stage.PRACTICE:
                return Practice(control)
            case Stage.QUALIFYING:
                return Qualifying(control)
            case Stage.PRE_EVENT:
                text = f"Qualified: {self._named(evening.qualified)}."
                return self._show([text], rules.pre_event_s)
            case Stage.EVENT_INTRO:
                text = f"Welcome to the race on {evening.track}!"
                return self._show([text], rules.intro_s)
            case Stage.COMPETITOR_INTRO:
                return self._show(self._bios(), rules.bio_s)
            case Stage.STAGE_1_PRE_RACE | Stage.STAGE_2_PRE_RACE:
                return PreRace(control, self._heat)
            case Stage.STAGE_1_RACE | Stage.STAGE_2_RACE:
                return Race(control, self._heat)
            case Stage.STAGE_1_POST_RACE:
                return self._show([self._result()], rules.between_stage_1_s)
            case Stage.STAGE_1_COMPLETED:
                ranking = self._named(draws.stage_1_ranking(evening))
                return self._show([f"Stage 1 is over: {ranking}."], rules.summary_s)
            case Stage.STAGE_2_POST_RACE:
                return self._show([self._result()], rules.between_stage_2_s)
            case Stage.COMPLETE:
                control.announce(f"The final order: {self._named(evening.standings)}.")
                return Phase(control)

    def _show(self, texts: Sequence[str], each_s: float) -> Show:
        return Show(self._control, texts, each_s * self._control.rules.waiting)

    def _following(self, stage: Stage) -> Stage:
        """Returns what comes next, and draws the heats for it."""
        evening = self.evening
        if stage is Stage.QUALIFYING:
            evening.qualified = draws.qualified(evening)
        elif stage is Stage.COMPETITOR_INTRO:
            evening.heats, evening.heat = draws.stage_1(evening), 0
        elif stage is Stage.STAGE_1_COMPLETED:
            evening.seeds = draws.stage_1_ranking(evening)[: self._control.rules.ladder]
            self._draw_round(1)
        elif stage is Stage.STAGE_1_POST_RACE:
            return self._after_heat_of_stage_1()
        elif stage is Stage.STAGE_2_POST_RACE:
            return self._after_heat_of_ladder()
        return _NEXT[stage]

    def _after_heat_of_stage_1(self) -> Stage:
        if draws.is_run_again(self._heat, self._control.rules):
            return Stage.STAGE_1_PRE_RACE
        if self.evening.heat + 1 == len(self.evening.heats):
            return Stage.STAGE_1_COMPLETED
        self.evening.heat += 1
        return Stage.STAGE_1_PRE_RACE

    def _after_heat_of_ladder(self) -> Stage:
        evening, heat = self.evening, self._heat
        if draws.is_run_again(heat, self._control.rules):
            return Stage.STAGE_2_PRE_RACE
        heat.winner = draws.faster(heat)
        if evening.heat + 1 < len(evening.heats):
            evening.heat += 1
        elif len(draws.left_in_ladder(evening, heat.round)) > 1:
            self._draw_round(heat.round + 1)
        else:
            return Stage.COMPLETE
        return Stage.STAGE_2_PRE_RACE

    def _draw_round(self, number: int) -> None:
        """Draws a round of the ladder; who has a bye comes first and is passed over."""
        evening = self.evening
        racers = draws.left_in_ladder(evening, number - 1)
        drawn = draws.ladder_round(racers, number)
        evening.heat = len(evening.heats) + (1 if drawn[0].bye else 0)
        evening.heats = [*evening.heats, *drawn]

    def _named(self, racers: Sequence[str]) -> str:
        return ", ".join(self.evening.name_of(who) for who in racers)

    def _bios(self) -> list[str]:
        found = (self.evening.find(who) for who in self.evening.qualified)
        return [f"{each.name} ({each.country}): {each.bio}" for each in found if each]

    def _result(self) -> str:
        evening, heat = self.evening, self._heat
        parts = []
        for who, outcome in heat.last.items():
            best = f"{outcome.best_s:.3f} s" if outcome.best_s < NO_LAP_S else "no lap"
            fault = f", disqualified: {outcome.disqualified}" if outcome.disqualified else ""
            parts.append(f"{evening.name_of(who)} {best}{fault}")
        return f"{draws.title(evening, heat)}: {'; '.join(parts)}."
