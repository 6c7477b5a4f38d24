package demo

import (
	"fmt"
	"time"

	"mailbeacon/internal/campaign"
)

// The advertisers, whose links stand between those of the house.
const (
	alder = "Alder Outfitters"
	birch = "Birch Coffee Roasters"
)

// spec is what a mailing is, before there is anybody to send it to.
type spec struct {
	name, title string
	daysAgo     int
	hour        int // of the day on which it is sent, UTC
	// from and upTo are the part of the people who are on its list; exactly is how many of them get it, whatever the
	// scale, and bounced how many of these it does not reach: 0 is all, and about one in a hundred.
	from, upTo       float64
	exactly, bounced int
	appeal           float64 // of the subject line: more of it, more readers
	urge             float64 // to follow links
	dateOnly         bool
	links            []linkSpec
}

// linkSpec is a link, and how much more than its place in the mail it draws people.
type linkSpec struct {
	label, url, advertiser string
	draw                   float64
	hidden                 bool
}

const house = "https://www.fern-and-field.example"

func story(label, path string, draw float64) linkSpec {
	return linkSpec{label: label, url: house + path, draw: draw}
}

func ad(advertiser, label, url string, draw float64) linkSpec {
	return linkSpec{label: label, url: url, advertiser: advertiser, draw: draw}
}

// trap is a link that no person sees.
var trap = linkSpec{label: "(not to be seen)", url: house + "/quiet-corner", hidden: true}

// issues are the newsletter's stories: first, second, third, and how the first line did.
var issues = [...]struct {
	first, second, third string
	appeal               float64
}{
	{"The last warm week: five walks by the water", "Harvest early, store long", "How to read a cloud", 0.78},
	{"Mushrooms: what to leave where it is", "A bench for a balcony", "Letters from the north coast", 0.98},
	{"Mending a jacket that you like", "Ten apples worth knowing", "The hut keeper's notebook", 0.70},
	{"Night trains to the mountains", "Late sowing: what still comes up", "Maps without a phone", 0.95},
	{"The garden in fog", "Soup for a wet day", "Rope, knots, patience", 0.66},
	{"Where the cranes rest", "A rucksack for one night", "Compost, explained in a minute", 0.88},
	{"Trees to plant before the frost", "Tea from the hedge", "Walking with children", 0.81},
	{"First snow: who clears which path", "Bulbs, late and deep", "An island in winter", 0.90},
	{"What birds want from you now", "A stove, and how to light it", "The long way home", 0.84},
	{"Short days, good light", "Bread in a cast iron pot", "How far is far enough", 0.75},
	{"Lanterns", "The shed, sorted", "A river from its spring", 0.62},
	{"Gloves: we tried nineteen", "Winter salad under glass", "Quiet valleys", 0.93},
	{"What we learned this year on foot", "Seeds to order now", "The reader's picture", 0.86},
}

// newsletter is the issue of a week, the first of which was the longest ago.
func newsletter(i int) spec {
	n := &issues[i]
	path := fmt.Sprintf("/weekly/%d", 201+i)
	s := spec{
		name: fmt.Sprintf("weekly-%d", 201+i), title: fmt.Sprintf("Fern & Field weekly %d: %s", 201+i, n.first),
		daysAgo: 7*(len(issues)-1-i) + 1, hour: 6, upTo: 0.46 + 0.005*float64(i), appeal: n.appeal, urge: 0.24,
		links: []linkSpec{
			story(n.first, path+"/first", 1.3),
			story(n.second, path+"/second", 1),
			ad(alder, "Alder Outfitters: boots that can be mended", "https://alder.example/boots?ref=weekly", 0.7),
			story(n.third, path+"/third", 0.9),
			story("Readers write", "/letters", 0.6),
			story("All issues", "/weekly", 0.4),
			trap,
		},
	}
	if i%2 == 1 {
		s.links[2] = ad(birch, "Birch Coffee: roasted on Thursdays", "https://birch.example/subscribe?from=ff", 0.9)
	}
	if i%4 == 3 {
		s.links[4] = ad(alder, "Alder: a lamp for the tent", "https://alder.example/lamps?ref=weekly", 0.8)
	}
	return s
}

// specs are the mailings of a season.
func specs() []spec {
	var all []spec
	for i := range issues {
		all = append(all, newsletter(i))
	}
	shop := func(path, first string, more ...linkSpec) []linkSpec {
		return append([]linkSpec{
			story(first, path, 1.6), story("Jackets", path+"/jackets", 0.9), story("Rucksacks", path+"/rucksacks", 0.9),
			story("For the garden", path+"/garden", 0.8),
		}, more...)
	}
	return append(all,
		spec{name: "autumn-offers", title: "Autumn offers: a quarter off what keeps you dry", daysAgo: 66, hour: 15, upTo: 0.62, appeal: 0.6, urge: 0.3,
			links: shop("/shop/autumn", "To the offers", ad(alder, "Alder: waxed cotton, now", "https://alder.example/cotton", 1))},
		spec{name: "reader-trip", title: "Come along: six days on foot, with twenty readers", daysAgo: 52, hour: 9, from: 0.2, upTo: 0.5, appeal: 0.85, urge: 0.2,
			links: shop("/trips/ridge", "The trip, day by day", ad(birch, "Birch: a flask for the road", "https://birch.example/flasks", 0.8))},
		spec{name: "boots-two-for-one", title: "Boots for two", daysAgo: 38, hour: 15, upTo: 0.6, appeal: 0.52, urge: 0.26,
			links: shop("/shop/boots", "Both pairs", ad(alder, "Alder: boot care", "https://alder.example/care", 0.9), ad(alder, "Alder: find a cobbler", "https://alder.example/cobblers", 0.5))},
		spec{name: "gift-guide", title: "Gifts that get used", daysAgo: 17, hour: 10, upTo: 0.66, appeal: 0.8, urge: 0.34,
			links: shop("/shop/gifts", "The whole list", ad(birch, "Birch: a year of coffee", "https://birch.example/year", 1.2), ad(alder, "Alder: vouchers", "https://alder.example/vouchers", 0.9))},
		spec{name: "winter-sale", title: "Winter sale: three days", daysAgo: 3, hour: 7, upTo: 0.68, appeal: 0.7, urge: 0.36,
			links: shop("/shop/winter", "Start here", ad(alder, "Alder: the down is on us", "https://alder.example/down", 1), ad(birch, "Birch: two bags for one", "https://birch.example/two", 1))},
		spec{name: "members-notice", title: "To our members: accounts, and the meeting in spring", daysAgo: 45, hour: 8, from: 0.1, upTo: 0.33, appeal: 0.8, urge: 0.2, dateOnly: true,
			links: shop("/members", "The accounts")},
		spec{name: "trail-survey", title: "One question about the ridge trail", daysAgo: 24, hour: 11, from: 0.4, upTo: 1, exactly: 506, bounced: 7, appeal: 0.9, urge: 0.5,
			links: shop("/survey", "Answer", ad(birch, "Birch: thank you, with a cup", "https://birch.example/cup", 1))},
		spec{name: "founders-circle", title: "For the founders' circle: a first look", daysAgo: 10, hour: 12, from: 0.6, upTo: 1, exactly: 38, bounced: 1, appeal: 0.95, urge: 0.4,
			links: shop("/first-look", "The first look", ad(alder, "Alder: made for this", "https://alder.example/circle", 1))},
	)
}

// registered is the link as a campaign has it.
func (l *linkSpec) registered() campaign.Link {
	return campaign.Link{URL: l.url, Label: l.label, Advertiser: l.advertiser, Hidden: l.hidden}
}

// sent is when a mailing goes out in a season that ends at a time.
func (s *spec) sent(until time.Time) time.Time {
	y, m, d := until.UTC().AddDate(0, 0, -s.daysAgo).Date()
	return time.Date(y, m, d, s.hour, 0, 0, 0, time.UTC)
}
