# SPDX-License-Identifier: MPL-2.0
"""What the synthesisers say: Harvard sentences (IEEE, 1969), and sentences of our own."""

ENGLISH = """the birch canoe slid on the smooth planks
glue the sheet to the dark blue background
it is easy to tell the depth of a well
these days a chicken leg is a rare dish
rice is often served in round bowls
the juice of lemons makes fine punch
the box was thrown beside the parked truck
the hogs were fed chopped corn and garbage
four hours of steady work faced us
a large size in stockings is hard to sell
the boy was there when the sun rose
a rod is used to catch pink salmon
the source of the huge river is the clear spring
kick the ball straight and follow through
help the woman get back to her feet
a pot of tea helps to pass the evening
smoky fires lack flame and heat
the soft cushion broke the man's fall
the salt breeze came across from the sea
the girl at the booth sold fifty bonds
the small pup gnawed a hole in the sock
the fish twisted and turned on the bent hook
press the pants and sew a button on the vest
the swan dive was far short of perfect
the beauty of the view stunned the young boy
two blue fish swam in the tank
her purse was full of useless trash
the colt reared and threw the tall rider
it snowed rained and hailed the same morning
read verse out loud for pleasure
hoist the load to your left shoulder
take the winding path to reach the lake
note closely the size of the gas tank
wipe the grease off his dirty face
mend the coat before you go out
the wrist was badly strained and hung limp
the stray cat gave birth to kittens
the young girl gave no clear response
the meal was cooked before the bell rang
what joy there is in living""".splitlines()

OTHER_ENGLISH = """a saw is a tool used for making boards
the wagon moved on well oiled wheels
march the soldiers past the next hill
a cup of sugar makes sweet fudge
place a rosebush near the porch steps
both lost their lives in the raging storm
we talked of the side show in the circus
use a pencil to write the first draft
he ran half way to the hardware store
the clock struck to mark the third period
a small creek cut across the field
cars and busses stalled in snow drifts
the set of china hit the floor with a crash
this is a grand season for hikes on the road
the dune rose from the edge of the water
those words were the cue for the actor to leave
a yacht slid around the point into the bay
the two met while playing on the sand
the ink stain dried on the finished page
the walled town was seized without a fight""".splitlines()

OTHERS = {
    "en": ENGLISH[:6],
    "de": ["Der Hund schläft unter dem Tisch in der Küche.",
           "Morgen fahren wir mit dem Bus zum Bahnhof.", "Ich habe gestern ein gutes Buch gelesen."],
    "fr": ["Le chat dort sur la chaise de la cuisine.", "Nous prenons le bus demain matin.",
           "J'ai lu un bon livre hier soir."],
    "es": ["El perro duerme debajo de la mesa.", "Mañana vamos en autobús a la estación.",
           "Ayer leí un libro muy bueno."],
    "it": ["Il cane dorme sotto il tavolo.", "Domani andiamo alla stazione con l'autobus."],
    "pl": ["Pies śpi pod stołem w kuchni.", "Jutro jedziemy autobusem na dworzec."],
    "ru": ["Собака спит под столом на кухне.", "Завтра мы поедем на вокзал на автобусе."],
    "tr": ["Köpek masanın altında uyuyor.", "Yarın otobüsle istasyona gidiyoruz."],
    "hi": ["कुत्ता मेज़ के नीचे सो रहा है।", "कल हम बस से स्टेशन जाएँगे।"],
    "cmn-latn-pinyin": ["xiao3gou3 zai4 zhuo1zi5 xia4mian4 shui4jiao4",
                        "ming2tian1 wo3men5 zuo4 gong1gong4 qi4che1 qu4 che1zhan4"],
    "pt": ["O cão dorme debaixo da mesa.", "Amanhã vamos de autocarro para a estação."],
    "sv": ["Hunden sover under bordet i köket.", "I morgon åker vi buss till stationen."],
    "fi": ["Koira nukkuu pöydän alla keittiössä.", "Huomenna menemme bussilla asemalle."],
    "el": ["Ο σκύλος κοιμάται κάτω από το τραπέζι."],
    "id": ["Anjing itu tidur di bawah meja.", "Besok kami naik bus ke stasiun."],
}
