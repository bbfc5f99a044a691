"""The kinds of places in the atlas, with every statement and question about them."""

from __future__ import annotations

from phrases import Kind, _fact

TOWN = Kind(
    name="{n}", noun="town", opening="Not far from {t} lies {e}.",
    facts={
        "founder": _fact("person", """{S} was founded by {v}.
            The founder of {e} was {v}.
            {S} owes its beginning to {v}.
            Old charters say that {e} was founded by {v}.
            {S} began as a small camp set up by {v}.""", """Who founded {e}?
            Who was the founder of {e}?
            By whom was {e} founded?"""),
        "founded": _fact("year", """{S} was founded in the year {v}.
            {S} received its charter in the year {v}.
            The first houses of {e} were built in {v}.
            {S} has stood here since {v}.
            The history of {e} as a town begins in {v}.""", """In what year was {e} founded?
            When was {e} founded?
            What is the founding year of {e}?"""),
        "people": _fact("count", """{S} has a population of {v}.
            {S} is home to {v} people.
            At the last count the population of {e} was {v}.
            In all, {e} has {v} inhabitants.
            The population of {e} has grown to {v}.""", """What is the population of {e}?
            How many people live in {e}?
            How many inhabitants does {e} have?"""),
        "export": _fact("goods", """The main export of {e} is {v}.
            {S} is best known for its export of {v}.
            Traders come to {e} from far away to buy {v}.
            {S} lives by selling {v}.
            The carts that leave {e} are loaded with {v}.""", """What is the main export of {e}?
            What does {e} export?
            What do traders buy in {e}?"""),
        "mayor": _fact("person", """The mayor of {e} is {v}.
            {S} is governed by its mayor, {v}.
            For some years now the mayor of {e} has been {v}.
            At present {e} is led by mayor {v}.
            The town hall of {e} is the seat of mayor {v}.""", """Who is the mayor of {e}?
            What is the name of the mayor of {e}?
            Who governs {e}?"""),
        "market": _fact("day", """The market of {e} is held every {v}.
            {S} holds its market every {v}.
            Farmers bring their goods to the market of {e} each {v}.
            In {e} the market day is {v}.""", """On which day is the market of {e} held?
            What is the market day in {e}?
            When does {e} hold its market?"""),
        "festival": _fact("month", """The festival of {e} takes place in {v}.
            {S} celebrates its great festival in {v}.
            Once a year, in the festival, the streets of {e} are full of lanterns; this is in {v}.
            Musicians gather in {e} for the festival in {v}.""",
            """In which month is the festival of {e}?
            When does the festival of {e} take place?
            In which month does {e} celebrate its festival?"""),
        "colour": _fact("shade", """The flag of {e} is {v}.
            The colour of the flag of {e} is {v}.
            Over the gate of {e} flies a flag that is {v}.""", """What colour is the flag of {e}?
            What is the colour of the flag of {e}?"""),
        "walls": _fact("stuff", """The walls of {e} are made of {v}.
            {S} is surrounded by walls of {v}.
            The builders of {e} raised its walls from {v}.""", """What are the walls of {e} made of?
            Of what material are the walls of {e}?"""),
    },
)

RIVER = Kind(
    name="the river {n}", noun="river", opening="Through the fields of {t} runs {e}.",
    facts={
        "length": _fact("miles", """{S} is {v} long.
            The length of {e} is {v}.
            From source to mouth {e} measures {v}.
            {S} flows for {v} before it reaches the sea.""", """How long is {e}?
            What is the length of {e}?"""),
        "source": _fact("place", """{S} rises near {v}.
            The source of {e} lies near {v}.
            The first springs of {e} are found near {v}.""", """Near which place does {e} rise?
            Where is the source of {e}?"""),
        "fish": _fact("fish", """{S} is full of {v}.
            Anglers come to {e} for its {v}.
            The fish most often caught in {e} are {v}.""", """Which fish are caught in {e}?
            What do anglers catch in {e}?"""),
        "flood": _fact("year", """{S} last flooded in {v}.
            The last great flood of {e} was in {v}.
            People still speak of how {e} burst its banks in {v}.""", """When did {e} last flood?
            In what year was the last flood of {e}?"""),
        "keeper": _fact("person", """The warden of {e} is {v}.
            {S} is watched by its warden, {v}.
            The boats on {e} are in the care of the warden {v}.""", """Who is the warden of {e}?
            What is the name of the warden of {e}?"""),
    },
)

MOUNT = Kind(
    name="Mount {n}", noun="mountain", opening="Above the roofs of {t} rises {e}.",
    facts={
        "height": _fact("feet", """{S} is {v} high.
            The height of {e} is {v}.
            Surveyors measured {e} and found it to be {v} high.
            The summit of {e} stands at {v}.""", """How high is {e}?
            What is the height of {e}?"""),
        "climber": _fact("person", """{S} was first climbed by {v}.
            The first person to climb {e} was {v}.
            The first flag on the summit of {e} was placed by {v}.""", """Who first climbed {e}?
            Who was the first person to climb {e}?"""),
        "climbed": _fact("year", """The first ascent of {e} was made in {v}.
            The summit of {e} was reached for the first time in {v}.
            Nobody had stood on top of {e} before {v}.""", """When was {e} first climbed?
            In what year was the first ascent of {e}?"""),
        "animal": _fact("animal", """The slopes of {e} are home to {v}.
            {S} is known for its {v}.
            High on the cliffs of {e} one can see {v}.""", """Which animals live on {e}?
            What animals can be seen on {e}?"""),
        "rock": _fact("stuff", """{S} consists of {v}.
            The rock of {e} is {v}.
            {S} is a single block of {v}.""", """What is the rock of {e}?
            What does {e} consist of?"""),
    },
)

BRIDGE = Kind(
    name="the {n} Bridge", noun="bridge", opening="The road out of {t} crosses {e}.",
    facts={
        "built": _fact("year", """{S} was built in {v}.
            The building of {e} was finished in {v}.
            {S} was opened to carts and walkers in {v}.""", """When was {e} built?
            In what year was {e} built?"""),
        "builder": _fact("person", """{S} was designed by {v}.
            The designer of {e} was {v}.
            The plans for {e} were drawn by {v}.""", """Who designed {e}?
            Who was the designer of {e}?"""),
        "material": _fact("stuff", """{S} is made of {v}.
            The arches of {e} are made of {v}.
            For the building of {e} the masons used {v}.""", """What is {e} made of?
            Of what material is {e}?"""),
        "span": _fact("feet", """The span of {e} is {v}.
            {S} has a span of {v}.
            From bank to bank {e} measures {v}.""", """What is the span of {e}?
            How wide is the span of {e}?"""),
    },
)

LAKE = Kind(
    name="Lake {n}", noun="lake", opening="A path leads from {t} down to {e}.",
    facts={
        "depth": _fact("feet", """{S} is {v} deep.
            The depth of {e} is {v}.
            At its deepest point {e} goes down {v}.""", """How deep is {e}?
            What is the depth of {e}?"""),
        "fish": _fact("fish", """{S} is rich in {v}.
            The fish of {e} are mostly {v}.
            In spring the nets from {e} are heavy with {v}.""", """Which fish live in {e}?
            What fish are there in {e}?"""),
        "birds": _fact("animal", """Along the shore of {e} live many {v}.
            The shores of {e} are a home for {v}.
            Walkers on the banks of {e} often meet {v}.""", """Which animals live on the shore of {e}?
            What animals are found along {e}?"""),
        "owner": _fact("person", """{S} belongs to {v}.
            The owner of {e} is {v}.
            The right to fish in {e} is held by its owner, {v}.""", """Who owns {e}?
            Who is the owner of {e}?"""),
    },
)

FOREST = Kind(
    name="the {n} Forest", noun="forest", opening="To the north of {t} begins {e}.",
    facts={
        "trees": _fact("tree", """Most of the trees in {e} are {v}.
            {S} is a forest of {v}.
            The paths of {e} lead under tall {v}.""", """Which trees grow in {e}?
            What are most of the trees in {e}?"""),
        "animal": _fact("animal", """{S} is full of {v}.
            Hunters go to {e} for its {v}.
            At dusk the clearings of {e} belong to {v}.""", """Which animals live in {e}?
            What do hunters look for in {e}?"""),
        "ranger": _fact("person", """The ranger of {e} is {v}.
            {S} is looked after by the ranger {v}.
            Those who get lost in {e} are found by the ranger, {v}.""", """Who is the ranger of {e}?
            What is the name of the ranger of {e}?"""),
        "area": _fact("acres", """{S} covers {v}.
            The area of {e} is {v}.
            On the map {e} takes up {v}.""", """How large is {e}?
            What is the area of {e}?"""),
    },
)

MINE = Kind(
    name="the {n} Mine", noun="mine", opening="An hour from {t} one comes to {e}.",
    facts={
        "ore": _fact("ore", """The workers of {e} dig for {v}.
            {S} yields {v}.
            What comes out of {e} is mostly {v}.""", """What is dug in {e}?
            What does {e} yield?"""),
        "opened": _fact("year", """{S} was opened in {v}.
            The first shaft of {e} was sunk in {v}.
            Work in {e} began in {v}.""", """When was {e} opened?
            In what year was {e} opened?"""),
        "master": _fact("person", """The master of {e} is {v}.
            {S} is run by its master, {v}.
            The keys of {e} are kept by the master, {v}.""", """Who is the master of {e}?
            What is the name of the master of {e}?"""),
        "workers": _fact("count", """{S} employs {v} workers.
            The number of workers in {e} is {v}.
            Every morning the bell of {e} calls {v} workers.""", """How many workers does {e} employ?
            How many workers are there in {e}?"""),
    },
)

ABBEY = Kind(
    name="{n} Abbey", noun="abbey", opening="On the hill behind {t} stands {e}.",
    facts={
        "abbot": _fact("person", """The abbot of {e} is {v}.
            {S} is headed by the abbot, {v}.
            Guests of {e} are received by the abbot, {v}.""", """Who is the abbot of {e}?
            What is the name of the abbot of {e}?"""),
        "age": _fact("year", """The tower of {e} was finished in {v}.
            {S} got its tower in {v}.
            The great tower of {e} dates from {v}.""", """When was the tower of {e} finished?
            From what year is the tower of {e}?"""),
        "craft": _fact("goods", """The monks of {e} make {v}.
            {S} is famous for making {v}.
            The workshops of {e} produce {v}.""", """What do the monks of {e} make?
            What is {e} famous for making?"""),
        "relic": _fact("shade", """The roof of {e} is {v}.
            {S} has a roof that is {v}.
            The colour of the roof of {e} is {v}.""", """What colour is the roof of {e}?
            What is the colour of the roof of {e}?"""),
    },
)

KINDS = {
    "town": TOWN, "river": RIVER, "mountain": MOUNT, "bridge": BRIDGE, "lake": LAKE, "forest": FOREST,
    "mine": MINE, "abbey": ABBEY,
}

FILLERS = tuple(line.strip() for line in """Visitors like the quiet lanes and the view over the hills.
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
    The local dish is a thick soup with bread.""".splitlines())
