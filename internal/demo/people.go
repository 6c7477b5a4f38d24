package demo

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"mailbeacon/internal/consent"
)

var (
	firstNames = strings.Fields(`ada agnes alma amir anna anton arthur astrid aylin ben bela carla clara cyril dana david dora
		edda elif emil erik eva felix finn flora frida greta hanna hugo ida ines ivan jakob jana jonas judith karl katja klara
		lars lea leo lena lin livia lukas maja malte mara marek mei mila milan mina nadia niels nora olga omar otto paul
		petra rana rosa ruben samir sara selma sven tara theo tilda timo uma vera viktor wanda yara zoe`)
	lastNames = strings.Fields(`adler albers amsel anders arndt bach becker berg bergmann birk blum brandt busch claasen
		dahl decker ehlers eich falk feld fink fuchs gruber haas hahn hansen hartmann heine holm horn ibsen jansen kaiser
		keller kern koch kraus kuhn lang lindner linke lorenz maas maier marten moor nagel neumann noll olsen ott
		pohl quast reuter richter roth sander schade stein storm thiel timm ulrich vogt wagner weber winter wolff zander`)
	domains = []string{"example.com", "example.com", "example.com", "example.net", "example.net", "example.org", "post.example", "mail.example", "office.example"}
)

// leaving is what a mail program posts for somebody who leaves with one click (RFC 8058).
const leaving = "List-Unsubscribe=One-Click"

// minds are what people say, before the season or in it, with their shares of a thousand.
var minds = []struct {
	before, meanwhile int
	choice            consent.Choice
	form              string // nothing: the page has no such choice
}{
	{12, 8, consent.Choice{Opens: consent.Refused}, "opens=refused"},
	{8, 5, consent.Choice{Clicks: consent.Refused}, "clicks=refused"},
	{15, 9, consent.Choice{Opens: consent.Refused, Clicks: consent.Refused}, "opens=refused&clicks=refused"},
	{14, 6, consent.Choice{Format: consent.Plain}, "format=plain"},
	{60, 10, consent.Choice{Opens: consent.Granted, Clicks: consent.Granted}, "opens=granted&clicks=granted"},
	{10, 0, consent.Choice{DateOnly: true}, ""},
	{0, 6, consent.Choice{Unsubscribed: true}, "mail=unsubscribed"},
	{0, 12, consent.Choice{Unsubscribed: true}, leaving},
}

// people makes as many as are asked for. Who is behind a scanner says nothing: of half of what it does there
// would be no telling.
func people(n int, rnd *rand.Rand) []Person {
	all := make([]Person, n)
	for i := range all {
		first, last := firstNames[rnd.IntN(len(firstNames))], lastNames[rnd.IntN(len(lastNames))]
		p := Person{
			Address: fmt.Sprintf("%s.%s.%d@%s", first, last, i+1, domains[rnd.IntN(len(domains))]),
			client:  draw(rnd, len(clients), func(i int) int { return clients[i].share }),
			scanner: draw(rnd, len(scanners), func(i int) int { return scanners[i] }),
		}
		p.keen = 0.04 + 0.92*rnd.Float64()*rnd.Float64() + 0.3*rnd.Float64()
		p.gpc = rnd.IntN(100) < 4
		if mind := draw(rnd, len(minds), func(i int) int { return minds[i].before }); mind >= 0 && p.scanner == unscanned {
			p.Before = minds[mind].choice
		} else if mind := draw(rnd, len(minds), func(i int) int { return minds[i].meanwhile }); mind >= 0 && p.scanner == unscanned {
			p.change = &change{
				mailing: -1, after: rnd.Float64(), delay: 20*time.Minute + time.Duration(rnd.Int64N(int64(9*time.Hour))),
				to: minds[mind].choice, form: minds[mind].form,
			}
		}
		all[i] = p
	}
	return all
}

// draw picks one of n by their shares of a thousand; -1 where the rest of the thousand is drawn.
func draw(rnd *rand.Rand, n int, share func(int) int) int {
	at := rnd.IntN(1000)
	for i := range n {
		if at -= share(i); at < 0 {
			return i
		}
	}
	return -1
}
