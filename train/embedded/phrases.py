"""The atlas in words: kinds of places, what is told of them, and the pieces that names are made of.

Every statement names its place before it gives the value, so a reader going left to right knows
whose value it is. ``{S}`` opens a sentence and may become a pronoun; ``{e}`` is the place inside
a sentence, always by name; ``{v}`` is the value, which is also the whole answer.
"""

# ruff: noqa: SIM905 - lists of hundreds of words read better as text
from __future__ import annotations

from dataclasses import dataclass

STARTS = (
    "Bar Bel Ber Bor Bran Bren Brim Brun Cal Cam Car Cas Cel Cor Cral Crel Cul Dal Dar Del Dol Dor "
    "Dral Drim Dun Dur Eld Elm Esk Fal Far Fen Fer Fin Fol Fram Ful Gal Gar Gel Gil Glen Gor Gral "
    "Grim Gul Hal Har Hel Hol Hor Hul Isk Jal Jor Kal Kar Kel Ken Kil Kor Kral Lan Lar Len Lor Lun "
    "Mal Mar Mel Mer Mil Mor Mul Nar Nel Nor Nul Oak Orl Osk Pal Par Pel Pen Pol Por Pral Quel Ral "
    "Ram Rel Ril Ron Ros Rul Sal San Sar Sel Ser Sil Sol Sor Stal Stel Sul Tal Tan Tar Tel Til Tol "
    "Tor Tral Trel Tul Ulm Urs Val Van Var Vel Ver Vil Vol Vor Wal War Wel Wil Win Wol Wyn Yal Yar "
    "Yel Yor Zal Zar Zel Zol"
).split()
"""First syllables of names; all end in a consonant, so that a name is cut in one way only."""

ENDS = (
    "bach beck berg bourne brook burn burgh bury by cliff combe cote crest croft dale den dell "
    "dorf fell ferry field ford forth gate garth grave grove ham haven heath hill hithe hold holm "
    "holt hurst keld kirk land lea leigh ley lock low mark marsh mere mill minster mond moor more "
    "mouth nor peak pool port quay ridge rigg rock row scar sea shaw shire shore side spring stead "
    "stoke stone stow thorn thorpe tide ton tree vale view ville wade water way well wen wharf "
    "wick wood worth yard"
).split()
"""Second syllables of the names of places."""

SURNAME_ENDS = (
    "bane beam bell bird blade blood bold bow brand cap castle child cloak cook crane croy dane "
    "dine dove drake eye fair feather fist foot frost garde glass glove gold goode grain hand hawk "
    "head heart helm hook horn house kin king knight lamb leaf light lock love man mane mantle may "
    "moon nail oar ring rose royd saddle sail shield silver singer smith son staff star steel "
    "strong sword tail tooth vane ward wain weather wine wing wise wolf wright"
).split()
"""Second syllables of family names."""

GIVEN = (
    "Ada Alba Alda Amos Anka Arno Asta Aulo Beda Bela Benno Berta Bodo Brida Cilla Clio Cosmo Cyra "
    "Dag Dela Dido Dora Drusa Ebba Edda Edo Elke Emmo Enna Erla Ezra Fabia Faro Fila Flora Frida "
    "Gerta Gino Greta Gudo Hanno Heda Hilda Hugo Ida Ilse Imre Inga Ivo Jana Jaro Jens Jola Juno "
    "Kira Klaus Knut Kora Lars Leda Leno Lida Livia Ludo Maba Magda Marta Milo Mina Moss Nadia "
    "Nela Nico Nils Nora Odo Olga Oona Otto Pavel Petra Pia Piet Quinn Rafe Rika Rolf Rona Runa "
    "Sana Saskia Signe Simo Sven Tamo Tessa Thea Tilda Timo Tova Udo Ulla Una Uwe Vera Vigo Vita "
    "Wanda Wido Xenia Yara Ylva Yuri Zeno Zita"
).split()
"""Given names of people."""

GOODS = (
    "amber apples barley beads bells boots bread bricks butter candles carpets cheese chairs "
    "clocks cloth coal copper cork dyes felt flax flour furs gems glass gloves grapes hats hides "
    "honey hops ink iron jam jars knives lace lamps lead leather lemons linen locks maps marble "
    "mirrors mustard nails needles nuts oats oil onions paint paper pearls pears pepper pins pipes "
    "plums pots ribbons rope rugs rye saddles salt sand saws scarves seeds silk silver slate soap "
    "spices spoons sugar tea tiles tin toys turnips vinegar walnuts wax wheat whistles wine wool"
).split()
SHADES = (
    "black blue brown coarse dark dried fine golden green grey heavy light old painted pale pink "
    "plain polished purple red rough salted small smoked soft spiced striped sweet white yellow"
).split()
ANIMALS = (
    "badgers bats bears beavers boars bustards buzzards cranes crows deer doves ducks eagles elk "
    "falcons finches foxes frogs geese goats grouse gulls hares hawks herons ibex kites larks "
    "lizards lynx martens moles newts otters owls partridges ravens rooks snipe stoats storks "
    "swallows swans toads voles vultures weasels wolves woodcocks wrens"
).split()
FISH = (
    "barbel bass bream burbot carp catfish chub crayfish dace eels grayling gudgeon lampreys loach "
    "minnows mussels perch pike roach rudd ruffe salmon shad smelt sturgeon tench trout whitefish "
    "zander"
).split()
TREES = (
    "alders ashes aspens beeches birches cedars cherries chestnuts cypresses elders elms firs "
    "hawthorns hazels hollies hornbeams junipers larches limes maples oaks pines planes poplars "
    "rowans spruces sycamores willows yews"
).split()
STUFF = (
    "basalt bluestone brick bronze chalk clay cobbles concrete flint gneiss granite gravel "
    "greenstone gritstone ironwood limestone marl oak porphyry pumice quartz redstone sandstone "
    "schist shale steel teak timber travertine turf whitestone"
).split()
ORES = (
    "agate alum antimony bauxite beryl borax cinnabar cobalt emerald fluorite garnet gold graphite "
    "gypsum jade jasper lignite magnesium mica nickel opal ochre platinum potash pyrite ruby "
    "sapphire sulphur topaz turquoise zinc"
).split()
MONTHS = (
    "January February March April May June July August September October November December"
).split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One thing that the atlas tells of a place."""

    value: str
    """Which kind of value it has; a key of ``atlas.VALUES``."""
    says: tuple[str, ...]
    """Statements, the plainest first."""
    asks: tuple[str, ...]
    """Questions, the plainest first."""


def fact(value: str, says: str, asks: str) -> Fact:
    """Write a fact from statements and questions, one a line."""
    lines = [tuple(s.strip() for s in text.strip().splitlines()) for text in (says, asks)]
    return Fact(value=value, says=lines[0], asks=lines[1])


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of place."""

    name: str
    """How the place is called, with ``{n}`` for its own name."""
    noun: str
    """What it is, for sentences that do not repeat the name."""
    facts: dict[str, Fact]
    opening: str
    """A sentence that leads to it from the town the entry is about, ``{t}``; it gives no value."""
