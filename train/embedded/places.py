"""The kinds of places in the atlas, with every statement and question about them."""

from __future__ import annotations

from nature import FOREST, LAKE, MOUNT, RIVER
from phrases import Kind, fact

TOWN = Kind(
    name="{n}",
    noun="town",
    opening="Not far from {t} lies {e}.",
    facts={
        "founder": fact(
            "person",
            """{S} was founded by {v}.
            The founder of {e} was {v}.
            {S} owes its beginning to {v}.
            Old charters say that {e} was founded by {v}.
            {S} began as a small camp set up by {v}.""",
            """Who founded {e}?
            Who was the founder of {e}?
            By whom was {e} founded?""",
        ),
        "founded": fact(
            "year",
            """{S} was founded in the year {v}.
            {S} received its charter in the year {v}.
            The first houses of {e} were built in {v}.
            {S} has stood here since {v}.
            The history of {e} as a town begins in {v}.""",
            """In what year was {e} founded?
            When was {e} founded?
            What is the founding year of {e}?""",
        ),
        "people": fact(
            "count",
            """{S} has a population of {v}.
            {S} is home to {v} people.
            At the last count the population of {e} was {v}.
            In all, {e} has {v} inhabitants.
            The population of {e} has grown to {v}.""",
            """What is the population of {e}?
            How many people live in {e}?
            How many inhabitants does {e} have?""",
        ),
        "export": fact(
            "goods",
            """The main export of {e} is {v}.
            {S} is best known for its export of {v}.
            Traders come to {e} from far away to buy {v}.
            {S} lives by selling {v}.
            The carts that leave {e} are loaded with {v}.""",
            """What is the main export of {e}?
            What does {e} export?
            What do traders buy in {e}?""",
        ),
        "mayor": fact(
            "person",
            """The mayor of {e} is {v}.
            {S} is governed by its mayor, {v}.
            For some years now the mayor of {e} has been {v}.
            At present {e} is led by mayor {v}.
            The town hall of {e} is the seat of mayor {v}.""",
            """Who is the mayor of {e}?
            What is the name of the mayor of {e}?
            Who governs {e}?""",
        ),
        "market": fact(
            "day",
            """The market of {e} is held every {v}.
            {S} holds its market every {v}.
            Farmers bring their goods to the market of {e} each {v}.
            In {e} the market day is {v}.""",
            """On which day is the market of {e} held?
            What is the market day in {e}?
            When does {e} hold its market?""",
        ),
        "festival": fact(
            "month",
            """The festival of {e} takes place in {v}.
            {S} celebrates its great festival in {v}.
            Once a year, in the festival, the streets of {e} are full of lanterns; this is in {v}.
            Musicians gather in {e} for the festival in {v}.""",
            """In which month is the festival of {e}?
            When does the festival of {e} take place?
            In which month does {e} celebrate its festival?""",
        ),
        "colour": fact(
            "shade",
            """The flag of {e} is {v}.
            The colour of the flag of {e} is {v}.
            Over the gate of {e} flies a flag that is {v}.""",
            """What colour is the flag of {e}?
            What is the colour of the flag of {e}?""",
        ),
        "walls": fact(
            "stuff",
            """The walls of {e} are made of {v}.
            {S} is surrounded by walls of {v}.
            The builders of {e} raised its walls from {v}.""",
            """What are the walls of {e} made of?
            Of what material are the walls of {e}?""",
        ),
    },
)

BRIDGE = Kind(
    name="the {n} Bridge",
    noun="bridge",
    opening="The road out of {t} crosses {e}.",
    facts={
        "built": fact(
            "year",
            """{S} was built in {v}.
            The building of {e} was finished in {v}.
            {S} was opened to carts and walkers in {v}.""",
            """When was {e} built?
            In what year was {e} built?""",
        ),
        "builder": fact(
            "person",
            """{S} was designed by {v}.
            The designer of {e} was {v}.
            The plans for {e} were drawn by {v}.""",
            """Who designed {e}?
            Who was the designer of {e}?""",
        ),
        "material": fact(
            "stuff",
            """{S} is made of {v}.
            The arches of {e} are made of {v}.
            For the building of {e} the masons used {v}.""",
            """What is {e} made of?
            Of what material is {e}?""",
        ),
        "span": fact(
            "feet",
            """The span of {e} is {v}.
            {S} has a span of {v}.
            From bank to bank {e} measures {v}.""",
            """What is the span of {e}?
            How wide is the span of {e}?""",
        ),
    },
)

MINE = Kind(
    name="the {n} Mine",
    noun="mine",
    opening="An hour from {t} one comes to {e}.",
    facts={
        "ore": fact(
            "ore",
            """The workers of {e} dig for {v}.
            {S} yields {v}.
            What comes out of {e} is mostly {v}.""",
            """What is dug in {e}?
            What does {e} yield?""",
        ),
        "opened": fact(
            "year",
            """{S} was opened in {v}.
            The first shaft of {e} was sunk in {v}.
            Work in {e} began in {v}.""",
            """When was {e} opened?
            In what year was {e} opened?""",
        ),
        "master": fact(
            "person",
            """The master of {e} is {v}.
            {S} is run by its master, {v}.
            The keys of {e} are kept by the master, {v}.""",
            """Who is the master of {e}?
            What is the name of the master of {e}?""",
        ),
        "workers": fact(
            "count",
            """{S} employs {v} workers.
            The number of workers in {e} is {v}.
            Every morning the bell of {e} calls {v} workers.""",
            """How many workers does {e} employ?
            How many workers are there in {e}?""",
        ),
    },
)

ABBEY = Kind(
    name="{n} Abbey",
    noun="abbey",
    opening="On the hill behind {t} stands {e}.",
    facts={
        "abbot": fact(
            "person",
            """The abbot of {e} is {v}.
            {S} is headed by the abbot, {v}.
            Guests of {e} are received by the abbot, {v}.""",
            """Who is the abbot of {e}?
            What is the name of the abbot of {e}?""",
        ),
        "age": fact(
            "year",
            """The tower of {e} was finished in {v}.
            {S} got its tower in {v}.
            The great tower of {e} dates from {v}.""",
            """When was the tower of {e} finished?
            From what year is the tower of {e}?""",
        ),
        "craft": fact(
            "goods",
            """The monks of {e} make {v}.
            {S} is famous for making {v}.
            The workshops of {e} produce {v}.""",
            """What do the monks of {e} make?
            What is {e} famous for making?""",
        ),
        "relic": fact(
            "shade",
            """The roof of {e} is {v}.
            {S} has a roof that is {v}.
            The colour of the roof of {e} is {v}.""",
            """What colour is the roof of {e}?
            What is the colour of the roof of {e}?""",
        ),
    },
)

KINDS = {
    "town": TOWN,
    "river": RIVER,
    "mountain": MOUNT,
    "bridge": BRIDGE,
    "lake": LAKE,
    "forest": FOREST,
    "mine": MINE,
    "abbey": ABBEY,
}

FILLERS = tuple(
    line.strip()
    for line in """Visitors like the quiet lanes and the view over the hills.
    In winter the snow can close the roads for weeks.
    Old songs about this country are still sung in the inns.
    The wind here comes mostly from the west.
    On clear days one can see as far as the coast.
    Much of what is known about it comes from old letters.
    The weather changes quickly, and travellers should carry a warm coat.
    Children learn these stories at school.
    There is a small inn where the road turns.
    The people are proud of it and speak of it often.
    Painters have come here for a long time.
    Early maps show it in the wrong place.
    A stone by the road still marks the old border.
    In summer the evenings are long and bright.
    Little of this has changed since the old days.
    A short walk leads to a well with good water.
    The best time for a visit is early autumn.
    More can be read in the books of the town library.
    Nobody knows why the old tower was never finished.
    The local dish is a thick soup with bread.""".splitlines()
)
