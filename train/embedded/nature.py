"""The kinds of places in the atlas that nobody built: rivers, mountains, lakes and forests."""

from __future__ import annotations

from phrases import Kind, fact

RIVER = Kind(
    name="the river {n}",
    noun="river",
    opening="Through the fields of {t} runs {e}.",
    facts={
        "length": fact(
            "miles",
            """{S} is {v} long.
            The length of {e} is {v}.
            From source to mouth {e} measures {v}.
            {S} flows for {v} before it reaches the sea.""",
            """How long is {e}?
            What is the length of {e}?""",
        ),
        "source": fact(
            "place",
            """{S} rises near {v}.
            The source of {e} lies near {v}.
            The first springs of {e} are found near {v}.""",
            """Near which place does {e} rise?
            Where is the source of {e}?""",
        ),
        "fish": fact(
            "fish",
            """{S} is full of {v}.
            Anglers come to {e} for its {v}.
            The fish most often caught in {e} are {v}.""",
            """Which fish are caught in {e}?
            What do anglers catch in {e}?""",
        ),
        "flood": fact(
            "year",
            """{S} last flooded in {v}.
            The last great flood of {e} was in {v}.
            People still speak of how {e} burst its banks in {v}.""",
            """When did {e} last flood?
            In what year was the last flood of {e}?""",
        ),
        "keeper": fact(
            "person",
            """The warden of {e} is {v}.
            {S} is watched by its warden, {v}.
            The boats on {e} are in the care of the warden {v}.""",
            """Who is the warden of {e}?
            What is the name of the warden of {e}?""",
        ),
    },
)

MOUNT = Kind(
    name="Mount {n}",
    noun="mountain",
    opening="Above the roofs of {t} rises {e}.",
    facts={
        "height": fact(
            "feet",
            """{S} is {v} high.
            The height of {e} is {v}.
            Surveyors measured {e} and found it to be {v} high.
            The summit of {e} stands at {v}.""",
            """How high is {e}?
            What is the height of {e}?""",
        ),
        "climber": fact(
            "person",
            """{S} was first climbed by {v}.
            The first person to climb {e} was {v}.
            The first flag on the summit of {e} was placed by {v}.""",
            """Who first climbed {e}?
            Who was the first person to climb {e}?""",
        ),
        "climbed": fact(
            "year",
            """The first ascent of {e} was made in {v}.
            The summit of {e} was reached for the first time in {v}.
            Nobody had stood on top of {e} before {v}.""",
            """When was {e} first climbed?
            In what year was the first ascent of {e}?""",
        ),
        "animal": fact(
            "animal",
            """The slopes of {e} are home to {v}.
            {S} is known for its {v}.
            High on the cliffs of {e} one can see {v}.""",
            """Which animals live on {e}?
            What animals can be seen on {e}?""",
        ),
        "rock": fact(
            "stuff",
            """{S} consists of {v}.
            The rock of {e} is {v}.
            {S} is a single block of {v}.""",
            """What is the rock of {e}?
            What does {e} consist of?""",
        ),
    },
)

LAKE = Kind(
    name="Lake {n}",
    noun="lake",
    opening="A path leads from {t} down to {e}.",
    facts={
        "depth": fact(
            "feet",
            """{S} is {v} deep.
            The depth of {e} is {v}.
            At its deepest point {e} goes down {v}.""",
            """How deep is {e}?
            What is the depth of {e}?""",
        ),
        "fish": fact(
            "fish",
            """{S} is rich in {v}.
            The fish of {e} are mostly {v}.
            In spring the nets from {e} are heavy with {v}.""",
            """Which fish live in {e}?
            What fish are there in {e}?""",
        ),
        "birds": fact(
            "animal",
            """Along the shore of {e} live many {v}.
            The shores of {e} are a home for {v}.
            Walkers on the banks of {e} often meet {v}.""",
            """Which animals live on the shore of {e}?
            What animals are found along {e}?""",
        ),
        "owner": fact(
            "person",
            """{S} belongs to {v}.
            The owner of {e} is {v}.
            The right to fish in {e} is held by its owner, {v}.""",
            """Who owns {e}?
            Who is the owner of {e}?""",
        ),
    },
)

FOREST = Kind(
    name="the {n} Forest",
    noun="forest",
    opening="To the north of {t} begins {e}.",
    facts={
        "trees": fact(
            "tree",
            """Most of the trees in {e} are {v}.
            {S} is a forest of {v}.
            The paths of {e} lead under tall {v}.""",
            """Which trees grow in {e}?
            What are most of the trees in {e}?""",
        ),
        "animal": fact(
            "animal",
            """{S} is full of {v}.
            Hunters go to {e} for its {v}.
            At dusk the clearings of {e} belong to {v}.""",
            """Which animals live in {e}?
            What do hunters look for in {e}?""",
        ),
        "ranger": fact(
            "person",
            """The ranger of {e} is {v}.
            {S} is looked after by the ranger {v}.
            Those who get lost in {e} are found by the ranger, {v}.""",
            """Who is the ranger of {e}?
            What is the name of the ranger of {e}?""",
        ),
        "area": fact(
            "acres",
            """{S} covers {v}.
            The area of {e} is {v}.
            On the map {e} takes up {v}.""",
            """How large is {e}?
            What is the area of {e}?""",
        ),
    },
)
