package demo

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
	"mailbeacon/internal/consent"
)

// Each time that somebody, or a machine, turns to a mail is a visit, and has five minutes of its own. Reports tell hours,
// so nothing is lost by that; but no visit to a mail comes near enough to another one to be judged by it, and what must
// be in the fold together is a matter of seconds.
const (
	slot = int64(5 * time.Minute / time.Millisecond)
	// togetherBefore is how far into a slot scanners and decisions begin, calmFrom and calmUntil when others do. What lies
	// between is more than the classification window: the ones are waited for before the others.
	togetherBefore = 4_000
	calmFrom       = 20_000
	calmUntil      = 180_000
)

// wanted is what there are people of at scale 1.
const wanted = 10_000

// New plans a season.
func New(o Options) *Season {
	if o.Scale == 0 {
		o.Scale = 1
	}
	all := specs()
	slices.SortStableFunc(all, func(a, b spec) int { return a.sent(o.Until).Compare(b.sent(o.Until)) })
	p := &planner{until: o.Until.UnixMilli()}
	p.s = &Season{People: people(max(int(wanted*o.Scale), fewest), rand.New(rand.NewPCG(o.Seed, 0)))}
	for i := range all {
		p.rnd = rand.New(rand.NewPCG(o.Seed, uint64(i+1))) // of its own: a change of one mailing leaves the others
		p.mailing(&all[i], float64(i)/float64(len(all)), o.Until)
	}
	p.s.order = sorted(p.s.Acts)
	return p.s
}

// fewest people are enough for the lists of an exact size.
const fewest = 1200

type planner struct {
	s     *Season
	rnd   *rand.Rand
	until int64

	m      *Mailing // that is planned now, with its number
	number int
	weight []float64
}

// mailing sends one to those on its list who have not left, and has them do what they do with it.
func (p *planner) mailing(s *spec, part float64, until time.Time) {
	p.number = len(p.s.Mailings)
	p.s.Mailings = append(p.s.Mailings, Mailing{
		Name: s.name, Title: s.title, Sent: s.sent(until), DateOnly: s.dateOnly, spec: s, first: len(p.s.Acts),
	})
	p.m = &p.s.Mailings[p.number]
	p.weight = p.weight[:0]
	for i := range s.links {
		p.m.Links = append(p.m.Links, s.links[i].registered())
		if !s.links[i].hidden {
			p.weight = append(p.weight, s.links[i].draw*math.Pow(0.72, float64(i)))
		}
	}
	bounced := p.address(part)
	for i, person := range p.m.To {
		if !bounced[i] {
			p.receive(person)
		}
	}
	p.m.end = len(p.s.Acts)
}

// address finds whom it is sent to, and says by the place in To whom it does not reach.
func (p *planner) address(part float64) (bounced map[int]bool) {
	s, sent := p.m.spec, p.m.Sent.UnixMilli()
	n := float64(len(p.s.People))
	for i := int(s.from * n); i < int(s.upTo*n); i++ {
		if !p.s.People[i].choice(sent).Unsubscribed && (s.exactly == 0 || len(p.m.To) < s.exactly) {
			p.m.To = append(p.m.To, i)
		}
	}
	if p.m.Bounced = s.bounced; s.exactly == 0 {
		p.m.Bounced = len(p.m.To) / 90
	}
	bounced = map[int]bool{}
	for _, i := range p.rnd.Perm(len(p.m.To))[:p.m.Bounced] {
		bounced[i] = true
	}
	for i, person := range p.m.To {
		c := p.s.People[person].change
		if c == nil || c.at != 0 || part < c.after || bounced[i] {
			continue
		}
		if at := slotOf(sent + c.delay.Milliseconds()); at+slot < p.until {
			c.mailing, c.at = p.number, at
		}
	}
	return bounced
}

func slotOf(at int64) int64 { return at - at%slot }

// visit is a wish to do something with a mail.
type visit struct {
	at   int64
	make func(person int, slot int64)
}

// receive has one person's mail arrive. What the mail does not carry nobody can load.
func (p *planner) receive(person int) {
	who, sent := &p.s.People[person], p.m.Sent.UnixMilli()
	made := who.choice(sent)
	opens, clicks := carries(event.Open, made), carries(event.Click, made)
	var visits []visit
	add := func(at int64, do func(int, int64)) { visits = append(visits, visit{at, do}) }
	deciding := who.change != nil && who.change.at != 0 && who.change.mailing == p.number
	if deciding {
		add(who.change.at, p.decide)
	}
	if opens && clicks && who.scanner != unscanned {
		add(sent+p.spread(2*time.Minute, 0.9), p.scan)
	}
	if c := &clients[who.client]; opens && c.prefetch != none && p.rnd.Float64() < c.often {
		add(sent+p.spread(14*time.Minute, 1.1), p.prefetch)
	}
	if deciding {
		sent = who.change.at // they read on, in mail that was made before
	}
	if (opens || clicks) && (deciding || p.rnd.Float64() < who.keen*p.m.spec.appeal) {
		p.readings(sent, add, p.reading(opens, clicks))
	}
	p.happen(person, visits)
}

func carries(kind event.Kind, c consent.Choice) bool {
	r := consent.BasisSubject.Verdict(kind, c)
	return r == event.Counted || r == event.DateOnly
}

// readings are when a person looks at a mail: once, mostly in the hours after it came, and sometimes again.
func (p *planner) readings(sent int64, add func(int64, func(int, int64)), read func(int, int64)) {
	median := 150 * time.Minute
	if p.rnd.IntN(4) == 0 {
		median = 26 * time.Hour
	}
	at := p.awake(sent + p.spread(median, 1.15))
	add(at, read)
	for p.rnd.Float64() < 0.22 {
		at = p.awake(at + int64(p.rnd.ExpFloat64()*float64(18*time.Hour/time.Millisecond)))
		add(at, read)
	}
	if p.rnd.Float64() < 0.01 { // somebody else, whom it was forwarded to
		add(p.awake(at+p.spread(5*time.Hour, 1)), p.forwarded)
	}
}

// spread is a log-normal time in milliseconds.
func (p *planner) spread(median time.Duration, sigma float64) int64 {
	return int64(float64(median.Milliseconds()) * math.Exp(sigma*p.rnd.NormFloat64()))
}

// awake moves most of what falls into the night (of an hour east of Greenwich) to the morning after.
func (p *planner) awake(at int64) int64 {
	const hour = int64(time.Hour / time.Millisecond)
	if local := (at/hour + 1) % 24; local < 6 && p.rnd.Float64() < 0.88 {
		return at + (6-local)*hour + p.rnd.Int64N(2*hour)
	}
	return at
}

// happen gives each visit a slot of its own, in their order, and drops what the season does not see: what is later than
// its end, and all that comes before somebody's mind changes.
func (p *planner) happen(person int, visits []visit) {
	slices.SortStableFunc(visits, func(a, b visit) int { return cmp.Compare(a.at, b.at) })
	begin := int64(0)
	if c := p.s.People[person].change; c != nil {
		if begin = c.at; begin == 0 {
			return // it is still to come
		}
	}
	last := int64(0)
	for _, v := range visits {
		at := max(slotOf(v.at), last+slot)
		if at < begin || at+slot > p.until {
			continue
		}
		last = at
		v.make(person, at)
	}
}

// act adds one to the plan.
func (p *planner) act(a Act) {
	a.Mailing = p.number
	p.s.Acts = append(p.s.Acts, a)
}

// reading is a visit of the person, with what the mail carries.
func (p *planner) reading(opens, clicks bool) func(person int, at int64) {
	return func(person int, at int64) {
		who := &p.s.People[person]
		c := &clients[who.client]
		at += calmFrom + p.rnd.Int64N(calmUntil-calmFrom)
		if opens && c.loads != none {
			for i := range 1 + p.rnd.IntN(c.retries+1) {
				p.act(Act{At: at + int64(i)*700, Person: person, Do: Open, Class: c.class, GPC: who.gpc && c.browser, agent: c.loads})
			}
		}
		if clicks && p.rnd.Float64() < p.m.spec.urge {
			p.follow(person, at, c.follows, who.gpc)
		}
	}
}

// follow has a person follow a link or two, never so fast that it looks like a machine.
func (p *planner) follow(person int, at int64, agent int, gpc bool) {
	first := p.link(none)
	at += 9_000 + p.rnd.Int64N(40_000)
	p.act(Act{At: at, Person: person, Do: Click, Link: first, Class: classify.Human, GPC: gpc, agent: agent})
	if p.rnd.IntN(5) == 0 {
		at += 12_000 + p.rnd.Int64N(25_000)
		p.act(Act{At: at, Person: person, Do: Click, Link: p.link(first), Class: classify.Human, GPC: gpc, agent: agent})
	}
}

// link is what somebody follows who followed another already.
func (p *planner) link(but int) int {
	sum := 0.0
	for i, w := range p.weight {
		if i != but {
			sum += w
		}
	}
	at, last := p.rnd.Float64()*sum, none
	for i, w := range p.weight {
		if i == but {
			continue
		}
		if last, at = i, at-w; at < 0 {
			break
		}
	}
	return last
}

// forwarded is a visit of somebody who was not sent the mail.
func (p *planner) forwarded(person int, at int64) {
	who := &p.s.People[person]
	made := who.choice(p.m.Sent.UnixMilli())
	at += calmFrom + p.rnd.Int64N(calmUntil-calmFrom)
	if carries(event.Open, made) {
		p.act(Act{At: at, Person: person, Do: Open, Class: classify.Human, agent: windowsEdge})
	}
	if carries(event.Click, made) && p.rnd.IntN(2) == 0 {
		p.follow(person, at, windowsEdge, false)
	}
}

// prefetch is a mail program that loads the image before anybody reads, and now and then one that loads a link.
func (p *planner) prefetch(person int, at int64) {
	agent := clients[p.s.People[person].client].prefetch
	at += calmFrom + p.rnd.Int64N(calmUntil-calmFrom)
	p.act(Act{At: at, Person: person, Do: Open, Class: classify.Machine, agent: agent})
	if agent == gmailPrefetch && carries(event.Click, p.s.People[person].choice(p.m.Sent.UnixMilli())) {
		p.act(Act{At: at + 5_000, Person: person, Do: Click, Class: classify.Machine, agent: linkPrefetch})
	}
}

// decide is a person at the preference page.
func (p *planner) decide(person int, at int64) {
	who := &p.s.People[person]
	at += p.rnd.Int64N(togetherBefore)
	agent := clients[who.client].follows
	if who.change.form != leaving {
		p.act(Act{At: at, Person: person, Do: Look, Together: true, agent: agent})
	}
	p.act(Act{At: at + 900, Person: person, Do: Decide, Together: true, agent: agent, form: who.change.form})
}

// scan is a visit of what stands before a person's mailbox.
func (p *planner) scan(person int, at int64) {
	at += p.rnd.Int64N(togetherBefore)
	step := func(do Do, link int, class classify.Class, agent int) {
		p.act(Act{At: at, Person: person, Do: do, Link: link, Class: class, Together: true, agent: agent})
		at += 150 + p.rnd.Int64N(150)
	}
	switch way := p.s.People[person].scanner; way {
	case byName:
		step(Open, 0, classify.Machine, barracuda)
		step(Click, 0, classify.Machine, barracuda)
		step(Click, 1, classify.Machine, barracuda)
	case headFirst:
		for i := range p.weight {
			step(ProbeLink, i, classify.Machine, windowsChrome)
		}
		step(ProbeOpen, 0, classify.Machine, windowsChrome)
		step(Open, 0, classify.Unknown, windowsChrome)
	default:
		step(Open, 0, classify.Unknown, windowsChrome)
		for i, l := range p.m.Links {
			if way == everything || !l.Hidden {
				step(Click, i, classify.Machine, windowsChrome)
			}
		}
	}
}
