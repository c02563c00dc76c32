/**
 * What goes into the blanks of the quickstart's messages. Training and test lists share no word, so the test measures
 * whether the model copies from the message and not whether it remembers the training file.
 */
const list = (text) => text.trim().split(/\s*,\s*/);

/** @typedef {{ firstNames: string[], lastNames: string[], items: string[], cities: string[], months: string[] }} FillIns */

/** @type {FillIns} */
export const trainFillIns = {
  firstNames:
    list(`Aaron, Abdul, Adele, Agnes, Ahmed, Aiko, Alan, Alice, Amara, Amir, Andrea, Anita, Anton, Arjun, Astrid,
    Barbara, Bela, Benedict, Bianca, Boris, Brenda, Bruno, Camille, Carlos, Carmen, Cecil, Chen, Chloe, Clara, Conor,
    Daisy, Daniel, Deepak, Diego, Dmitri, Dora, Edgar, Edith, Eileen, Elias, Elif, Emil, Enzo, Erica, Esther, Eva,
    Farid, Fatima, Felix, Fiona, Frank, Gabriel, Gemma, George, Gloria, Greta, Hamza, Hannah, Harold, Hassan, Heidi,
    Henrik, Hugo, Ibrahim, Ida, Igor, Ines, Irene, Isaac, Jack, Jacob, Jasmine, Javier, Jin, Joan, Jonas, Judith, Julia,
    Kamal, Karen, Keiko, Kevin, Klaus, Lars, Laura, Leila, Leon, Lily, Louis, Lucia, Magnus, Malik, Marco, Margaret,
    Mehmet, Mina, Monica, Nadia, Naomi, Nathan, Nina, Noah, Olga, Oliver, Omar, Oscar, Pablo, Paula, Pedro, Peter,
    Priya, Rachel, Ravi, Rita, Robert, Rosa, Ruth, Samuel, Sandra, Sean, Sofia, Stefan, Susan, Tariq, Teresa, Thomas`),
  lastNames:
    list(`Abbott, Adams, Ahmadi, Alvarez, Anders, Arslan, Bailey, Banerjee, Barnes, Becker, Bennett, Bernard,
    Blake, Bosch, Brandt, Burke, Campbell, Carvalho, Castillo, Chandra, Clarke, Colombo, Costa, Cruz, Dalton, Darwish,
    Delgado, Demir, Dixon, Dubois, Eklund, Ellis, Engel, Farrell, Fernandes, Fischer, Fleming, Foster, Fuchs, Garcia,
    Gibson, Gomez, Grant, Greene, Gupta, Haddad, Hansen, Harper, Hayashi, Hoffman, Holm, Hughes, Hussain, Ivanova,
    Jansen, Jensen, Johnson, Kaplan, Kaur, Keller, Kelly, Khan, Kimura, Klein, Kowalski, Kumar, Lambert, Larsen,
    Lehmann, Lindberg, Lopez, Lorenz, Madsen, Mancini, Marsh, Martens, Mendes, Meyer, Miller, Moreno, Morris, Murphy,
    Nakano, Navarro, Nguyen, Nielsen, Novak, Nowak, Obi, Olsen, Owens, Palmer, Park, Patel, Pereira, Perry, Petrov,
    Popescu, Quinn, Ramos, Reyes, Ricci, Rossi, Sato, Schmidt, Shah, Silva, Singh, Stewart, Suzuki, Torres, Turner`),
  items:
    list(`blender, bookshelf, camera, candle holder, carpet, ceiling lamp, chess set, coat, coffee grinder, desk,
    desk fan, dining table, doorbell, drill, dress, duvet, electric kettle, fan heater, folding chair, frying pan,
    garden hose, gloves, guitar, hair dryer, hammock, headphones, ice bucket, iron, jacket, juicer, keyboard, kitchen
    scale, knife block, ladder, laptop stand, leather belt, lunch box, mattress, microphone, microwave, mirror, monitor,
    mountain bike, mouse pad, necklace, notebook, office chair, oven glove, paint set, phone case, picture frame,
    pillow, power bank, printer, puzzle, radio, rain boots, razor, rice cooker, running shoes, sandals, saucepan, scarf,
    sewing kit, shower curtain, sleeping bag, sofa cover, speaker, suitcase, sun hat, sweater, swim goggles, tea pot,
    toaster, tool box, towel rack, toy train, travel mug, umbrella, vacuum cleaner, wall clock, wallet, water bottle,
    alarm clock, apron, armchair, ashtray, awning, bar stool, basket, bath towel, bean bag, bed sheet, bench, beret,
    bicycle pump, birdhouse, blanket, bow tie, bowl, bracelet, broom, bucket, bunk bed, cactus, cake tin,
    calculator, calendar, canoe paddle, card game, cardigan, cat tree, cello, clarinet, coaster, comb, compass,
    cooler, corkscrew, cot, crayons, cupboard, curtain rod, cushion, dartboard, deck of cards, dish rack, dog bed,
    dollhouse, doormat, drum, easel, egg timer, envelope opener, faucet, fishing rod, flask, flower pot, flute,
    fountain pen, frisbee, funnel, garlic press, grill, hand saw, harmonica, hat stand, helmet, hiking poles,
    hoodie, hourglass, ink cartridge, ironing rack, jar, jeans, jump rope, kettle, kimono, kite, lamp shade, lawn
    mower, lighter, lipstick, magnifier, mandolin, measuring cup, mitten, mop, napkin ring, oboe, ottoman, overalls,
    paint brush, parasol, pencil sharpener, piggy bank, ping pong bat, plunger, pocket knife, poncho, projector,
    rake, record player, ring binder, rocking horse, rug, rucksack, salad bowl, sander, saxophone, scissors,
    screwdriver, serving tray, shoe horn, sieve, sled, slippers, snorkel, sofa, spatula, stapler, stool, stroller,
    surfboard, swivel chair, tablecloth, tambourine, telescope, thermos, tie clip, tongs, torch, trowel, trumpet,
    turntable, tweezers, typewriter, violin, waistcoat, webcam, wheelbarrow, whisk, wind chime, wok, wrench,
    xylophone, zipper pouch`),
  cities:
    list(`Aachen, Accra, Ankara, Antwerp, Athens, Austin, Basel, Belfast, Bergen, Berlin, Bilbao, Bogota, Bologna,
    Boston, Bristol, Brussels, Cairo, Calgary, Cardiff, Chicago, Cologne, Cork, Dallas, Delhi, Denver, Dublin, Durban,
    Florence, Geneva, Glasgow, Graz, Hamburg, Hanoi, Helsinki, Houston, Istanbul, Jakarta, Kigali, Kyoto, Lagos, Leeds,
    Lima, Lisbon, London, Lyon, Madrid, Malaga, Manchester, Melbourne, Miami, Milan, Montreal, Mumbai, Munich, Nairobi,
    Naples, Nice, Osaka, Oslo, Oxford, Paris, Perth, Phoenix, Prague, Riga, Rome, Seattle, Seoul, Sofia, Sydney, Tokyo`),
  months: list("January, February, March, May, June, July, August, October, November"),
};

/** @type {FillIns} */
export const testFillIns = {
  firstNames:
    list(`Agatha, Bjorn, Catalina, Desmond, Eleni, Fergus, Giorgia, Hiroshi, Imogen, Jarek, Katya, Lorenzo,
    Marta, Nikhil, Ottilie, Percival, Quentin, Rosalind, Sigrid, Tobias, Ursula, Viktor, Wanda, Xavier, Yusuf, Zelda`),
  lastNames:
    list(`Achterberg, Bonfanti, Czerny, Dragomir, Escobedo, Fitzgerald, Gallagher, Hakimi, Iglesias, Jokinen,
    Krishnan, Lindqvist, Mbeki, Nordstrom, Okafor, Papadakis, Qureshi, Rutherford, Sokolov, Thackeray, Uchida, Vasquez,
    Whitlock, Yamamoto, Zielinski`),
  items:
    list(`air fryer, backpack, bathrobe, binoculars, cutting board, dumbbells, espresso machine, flashlight, globe,
    humidifier, jigsaw, kayak, lantern, mosquito net, nightstand, pepper mill, quilt, roller skates, skateboard,
    snow shovel, tent, tripod, ukulele, vase, waffle maker, yoga mat`),
  cities:
    list(`Adelaide, Bucharest, Casablanca, Dakar, Edinburgh, Fukuoka, Gdansk, Havana, Innsbruck, Johannesburg,
    Krakow, Ljubljana, Marseille, Nottingham, Odense, Porto, Quito, Rotterdam, Salzburg, Toulouse, Uppsala, Valencia,
    Winnipeg, Yerevan, Zagreb`),
  months: list("April, September, December"),
};
