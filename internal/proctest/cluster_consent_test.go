package proctest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mailbeacon/internal/api"
	"mailbeacon/internal/client"
	"mailbeacon/internal/consent/consenttest"
)

const (
	people     = 4
	clicksEach = 60 // links that each of them may click in a run, once
	opensEach  = 4  // mails that each may open in a run, once
	chaosTime  = 5 * time.Second
)

// TestClusterConsent lets people refuse and grant through the admin while they open and click over two edges, and each role is
// cut off from Kafka, stopped, killed and started again. Each history, with what was counted in the end, must be one
// of a single register for each person: from the moment on at which a refusal was called effective, nothing that
// the person did is counted until it was granted again.
//
// The long form runs a program whose wall clock leaps.
func TestClusterConsent(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	runs, program := 1, ""
	if v := os.Getenv("MAILBEACON_CONSENT_RUNS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			t.Fatalf("MAILBEACON_CONSENT_RUNS is %q, no number", v)
		}
		runs, program = n, built(t, leapingBinary)
	}
	c := newPartedCluster(t, program)
	var sum tallies
	for n := range runs {
		r := &consentRun{cluster: c, t: t, n: n, done: map[string]int{}}
		sum.add(r.play())
		if t.Failed() {
			return
		}
	}
	t.Logf("%d runs: %+v", runs, sum)
	// One history may have none of something, where the machine is slow or chance would have it.
	if runs >= 10 && (sum.Counted == 0 || sum.Effective == 0 || sum.Refused == 0) {
		t.Error("that shows nothing")
	}
	c.stop()
}

// tallies are what happened in runs.
type tallies struct {
	Changes, Effective int // decisions, and those that were called effective
	Events, Counted    int // what people did, and what of it was counted
	Refused            int // of the events: begun while a refusal was known to be effective
	Faults             map[string]int
}

func (s *tallies) add(o tallies) {
	s.Changes += o.Changes
	s.Effective += o.Effective
	s.Events += o.Events
	s.Counted += o.Counted
	s.Refused += o.Refused
	if s.Faults == nil {
		s.Faults = map[string]int{}
	}
	for name, n := range o.Faults {
		s.Faults[name] += n
	}
}

// consentRun is one history.
type consentRun struct {
	*cluster
	t     *testing.T
	n     int
	done  map[string]int // faults by name
	api   atomic.Pointer[client.Client]
	edge  [testEdges]atomic.Pointer[string] // where they answer
	began time.Time

	mu      sync.Mutex
	changes []change
	events  []happening
}

// change is a decision that was sent to the admin.
type change struct {
	person    int
	refuse    bool
	source    string
	call      time.Duration
	answer    time.Duration // when it was called effective; 0: it was not
	positions []uint64      // where it stands in the ledger
}

// happening is an open or a click.
type happening struct {
	person   int
	campaign string
	link     int // 0: an open
	path     string
	edge     int
	call     time.Duration
	answer   time.Duration // or when the edge was found dead
	answered bool
	counted  bool
}

func (r *consentRun) name(what string) string { return fmt.Sprintf("consent-%d-%s", r.n, what) }

func (r *consentRun) address(person int) string {
	return fmt.Sprintf("run%d.person%d@example.com", r.n, person)
}

// play makes a history, and checks it.
func (r *consentRun) play() tallies {
	r.api.Store(r.admin.client())
	todo := r.prepare()
	r.agree()
	for i, s := range r.edges {
		r.edge[i].Store(&s.public)
	}
	r.began = time.Now()
	ctx, cancel := context.WithCancel(r.t.Context())
	var all sync.WaitGroup
	for person := range people {
		var said [testEdges]chan struct{} // a refusal has become effective
		for edge := range said {
			said[edge] = make(chan struct{}, 1)
			mine := todo[person][edge*len(todo[person])/testEdges : (edge+1)*len(todo[person])/testEdges]
			all.Go(func() { r.act(ctx, edge, mine, said[edge]) })
		}
		all.Go(func() { r.decide(ctx, person, said[:]) })
	}
	for time.Since(r.began) < chaosTime && !r.t.Failed() {
		r.episode()
	}
	cancel()
	all.Wait()
	if r.t.Failed() {
		return tallies{}
	}
	r.settle()
	return r.check()
}

// prepare makes the mail of a run, and returns what each person may do.
func (r *consentRun) prepare() [people][]happening {
	r.t.Helper()
	admin := r.api.Load()
	var todo [people][]happening
	var html strings.Builder
	for n := range people * clicksEach {
		fmt.Fprintf(&html, `<a href="https://example.com/%d">x</a>`, n)
	}
	campaign := r.name("clicks")
	r.campaign(campaign)
	if _, err := admin.Render(r.t.Context(), campaign, api.MailRequest{To: r.address(0), HTML: html.String()}); err != nil {
		r.t.Fatal(err)
	}
	for person := range people {
		m := mint(r.t.Context(), r.t, admin, campaign, r.address(person))
		for n := range clicksEach {
			link := person*clicksEach + n + 1
			todo[person] = append(todo[person], happening{person: person, campaign: campaign, link: link, path: pathOf(r.t, m.Links[strconv.Itoa(link)])})
		}
	}
	for n := range people * opensEach {
		campaign, person := r.name("open-"+strconv.Itoa(n)), n%people
		r.campaign(campaign)
		m := mint(r.t.Context(), r.t, admin, campaign, r.address(person))
		todo[person] = append(todo[person], happening{person: person, campaign: campaign, path: pathOf(r.t, m.PixelURL)})
	}
	for _, mine := range todo {
		rand.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
	}
	return todo
}

func (r *consentRun) campaign(name string) {
	r.t.Helper()
	if _, err := r.api.Load().CreateCampaign(r.t.Context(), api.NewCampaign{Name: name}); err != nil {
		r.t.Fatal(err)
	}
}

// decide refuses and grants in turn.
func (r *consentRun) decide(ctx context.Context, person int, said []chan struct{}) {
	for n := 0; ctx.Err() == nil; n++ {
		ch := change{person: person, refuse: n%2 == 0, source: fmt.Sprintf("run %d change %d", r.n, n), call: time.Since(r.began)}
		word := map[bool]string{true: "refused", false: "granted"}[ch.refuse]
		bound, cancel := context.WithTimeout(r.t.Context(), 6*time.Second)
		d, err := r.api.Load().SetConsent(bound, api.Decision{Subject: r.address(person), Opens: word, Clicks: word, Source: ch.source})
		cancel()
		if err == nil && d.Effective {
			ch.answer = time.Since(r.began)
		}
		r.mu.Lock()
		r.changes = append(r.changes, ch)
		r.mu.Unlock()
		if ch.answer > 0 && ch.refuse {
			for _, c := range said {
				select {
				case c <- struct{}{}:
				default:
				}
			}
			time.Sleep(rand.N(500 * time.Millisecond))
		}
		time.Sleep(rand.N(500 * time.Millisecond))
	}
}

// act opens and clicks at an edge: now and then, and as soon as a refusal is effective.
func (r *consentRun) act(ctx context.Context, edge int, todo []happening, said <-chan struct{}) {
	var c *conn
	defer func() {
		if c != nil {
			c.close()
		}
	}()
	for _, h := range todo {
		select {
		case <-ctx.Done():
			return
		case <-said:
		case <-time.After(rand.N(400 * time.Millisecond)):
		}
		h.edge = edge
		c = r.ask(c, h)
	}
}

// ask is one open or click, over a connection or, where that is nil, a new one. It returns the one for the next.
func (r *consentRun) ask(c *conn, h happening) *conn {
	if c != nil && c.last {
		c.close()
		c = nil
	}
	if c == nil {
		var err error
		if c, err = dial(*r.edge[h.edge].Load()); err != nil {
			return nil // nobody is there; nothing was asked
		}
	}
	h.call = time.Since(r.began)
	status, err := c.get(h.path)
	// An edge that was killed does not know the newest links until it has caught up, and records nothing of them.
	h.answer, h.answered = time.Since(r.began), err == nil && status != 404
	r.mu.Lock()
	r.events = append(r.events, h)
	r.mu.Unlock()
	if err != nil {
		c.close()
		return nil
	}
	if status != 200 && status != 302 && (status != 404 || h.link == 0) {
		r.t.Errorf("%s: status %d", h.path, status)
	}
	return c
}

// episode harms up to three processes at once for a while.
func (r *consentRun) episode() {
	var heal []func()
	for _, who := range rand.Perm(1 + testEdges + testConsumers)[:1+rand.IntN(3)] {
		if who == 0 && rand.IntN(3) > 0 {
			continue // nothing is ever effective without an admin
		}
		heal = append(heal, r.harm(who))
	}
	time.Sleep(rand.N([]time.Duration{500 * time.Millisecond, 3500 * time.Millisecond}[rand.IntN(2)]))
	for _, fn := range heal {
		fn()
	}
	time.Sleep(rand.N(700 * time.Millisecond))
}

// harm does something to one process, the admin, an edge or a consumer, and returns how it ends.
func (r *consentRun) harm(who int) (heal func()) {
	s, way := r.all()[who], r.ways[who]
	what := []string{"cut off", "cut off in silence", "stopped", "stopped", "killed"}[rand.IntN(5)]
	if who > testEdges && what == "killed" && rand.IntN(6) > 0 { // the others of its group wait for its session's end
		what = "stopped"
	}
	r.done[what]++
	switch what {
	case "stopped":
		s.signal(syscall.SIGSTOP)
		return func() { s.signal(syscall.SIGCONT) }
	case "killed":
		s.kill()
		return func() { r.revive(who) }
	}
	way.block(what == "cut off in silence")
	return way.unblock
}

// revive starts a process again.
func (r *consentRun) revive(who int) {
	switch {
	case who == 0:
		r.admin = r.start("admin", 0)
		r.api.Store(r.admin.client())
	case who <= testEdges:
		i := who - 1
		r.edges[i] = r.start("edge", i)
		r.edge[i].Store(&r.edges[i].public)
	default:
		i := who - 1 - testEdges
		r.consumers[i] = r.launch("consume", i)
	}
}

// settle waits until everything that was recorded is counted.
func (r *consentRun) settle() {
	r.t.Helper()
	for _, s := range r.all() {
		s.awaitReady()
	}
	r.drain()
}

// check holds the history against what a register for each person would do.
func (r *consentRun) check() tallies {
	r.t.Helper()
	sum := tallies{Events: len(r.events), Changes: len(r.changes), Faults: r.done}
	r.count()
	r.locate()
	end := time.Since(r.began)
	var changes []consenttest.Change
	var counted []consenttest.Counted
	for i := range r.changes {
		ch := &r.changes[i]
		c := consenttest.Change{Person: ch.person, Refuse: ch.refuse, Call: ch.call, Return: end}
		if ch.answer > 0 {
			c.Return = ch.answer
			sum.Effective++
		}
		for _, c.Position = range ch.positions {
			changes = append(changes, c)
		}
	}
	for i := range r.events {
		h := &r.events[i]
		if r.refused(h) {
			sum.Refused++
		}
		if h.counted {
			sum.Counted++
			counted = append(counted, consenttest.Counted{Person: h.person, Call: h.call, Return: h.answer})
		}
	}
	if err := consenttest.Check(changes, counted); err != nil {
		r.t.Errorf("run %d: %v", r.n, err)
		for _, ch := range r.changes {
			r.t.Logf("%+v", ch)
		}
		for _, h := range r.events {
			r.t.Logf("%+v, while refused: %v", h, r.refused(&h))
		}
		for _, s := range r.all() {
			r.t.Logf("%s said:\n%s", s.data, &s.out)
		}
	}
	r.t.Logf("run %d: %+v", r.n, sum)
	return sum
}

// refused says whether something was done while a refusal was known to be effective, and nobody had asked for anything
// else.
func (r *consentRun) refused(h *happening) bool {
	found := false
	for _, ch := range r.changes {
		switch {
		case ch.person != h.person || ch.call > h.answer:
		case !ch.refuse && ch.call > h.call:
			return false
		case ch.call <= h.call:
			found = ch.refuse && ch.answer > 0 && ch.answer < h.call
		}
	}
	return found
}

// count finds out what was counted.
func (r *consentRun) count() {
	r.t.Helper()
	type key struct {
		campaign string
		link     int
	}
	counted := map[key]uint64{}
	received, answered, asked := map[string]uint64{}, map[string]uint64{}, map[string]uint64{}
	for _, h := range r.events {
		asked[h.campaign]++
		if h.answered {
			answered[h.campaign]++
		}
	}
	for campaign := range asked {
		report, err := r.api.Load().Report(r.t.Context(), campaign)
		if err != nil {
			r.t.Fatal(err)
		}
		addsUp(r.t, report)
		received[campaign] = report.Opens.Received + report.Clicks.Received
		counted[key{campaign, 0}] = report.Opens.Total
		for _, l := range report.Links {
			counted[key{campaign, int(l.Link)}] = l.Total
		}
		if got := received[campaign]; got < answered[campaign] || got > asked[campaign] {
			r.t.Errorf("run %d: %s: %d received, %d asked and %d answered", r.n, campaign, got, asked[campaign], answered[campaign])
		}
	}
	for i := range r.events {
		h := &r.events[i]
		n := counted[key{h.campaign, h.link}]
		if n > 1 {
			r.t.Errorf("run %d: %+v is counted %d times", r.n, *h, n)
		}
		h.counted = n > 0
	}
}

// locate finds where each change stands in the ledger, also where its answer never came.
func (r *consentRun) locate() {
	r.t.Helper()
	for person := range people {
		known, err := r.api.Load().Consent(r.t.Context(), r.address(person))
		if err != nil {
			r.t.Fatal(err)
		}
		at := map[string][]uint64{}
		for _, e := range known.History {
			at[e.Source] = append(at[e.Source], e.Position)
		}
		for i := range r.changes {
			if ch := &r.changes[i]; ch.person == person {
				if ch.positions = at[ch.source]; ch.answer > 0 && len(ch.positions) == 0 {
					r.t.Errorf("run %d: the ledger lacks %+v", r.n, *ch)
				}
			}
		}
	}
}
