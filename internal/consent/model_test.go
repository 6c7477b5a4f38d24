package consent_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/ingest/storetest"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/consent/consenttest"
	"mailbeacon/internal/control"
)

const (
	people      = 2 // each with a topic and its consumer
	modelEdges  = 2
	modelAdmins = 2
	modelTime   = 14 * time.Second
)

func subjectOf(person int) uint64 { return uint64(person)*1_000_003 + 7 }

// harm is something that is done to a process for a while.
type harm struct {
	who   int // admins, then edges, then consumers
	what  string
	begin time.Duration
	long  time.Duration
}

func harms() *rapid.Generator[[]harm] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) harm {
		return harm{
			who:   rapid.IntRange(0, modelAdmins+modelEdges+people-1).Draw(t, "who"),
			what:  rapid.SampledFrom([]string{"stop", "cut", "lossy", "frozen", "frozen control log", "frozen echo log", "kill"}).Draw(t, "what"),
			begin: time.Duration(rapid.IntRange(1000, 11_000).Draw(t, "begin")) * time.Millisecond,
			long:  time.Duration(rapid.IntRange(1, 5000).Draw(t, "long")) * time.Millisecond,
		}
	}), 2, 10)
}

// TestEffectiveHoldsEverywhere: whatever is done to the processes of a cluster, a history of refusals and grants, and of what
// people did meanwhile at its edges, is one of a register for each person.
func TestEffectiveHoldsEverywhere(t *testing.T) {
	var sum modelSum
	rapid.Check(t, func(rt *rapid.T) {
		all := harms().Draw(rt, "harms")
		who := rapid.SampledFrom([]gates{bothGates, edgesAlone, consumersOnly}).Draw(rt, "who looks at consent")
		folder := t.TempDir()
		var err error
		synctest.Test(t, func(*testing.T) { err = playModel(folder, who, all, &sum) })
		if err != nil {
			rt.Fatal(err)
		}
	})
	t.Logf("%+v", sum)
	if sum.counted == 0 || sum.effective == 0 || sum.again == 0 || sum.refused == 0 {
		t.Error("that shows nothing")
	}
}

type modelSum struct{ histories, changes, effective, again, events, counted, refused int }

// model is one history.
type model struct {
	*brokers
	admins    [modelAdmins]*modelAdmin
	edges     [modelEdges]*modelEdge
	consumers [people]*modelConsumer
	began     time.Time
	lives     []*lives

	mu      sync.Mutex
	changes []modelChange
	events  []modelEvent
}

type modelChange struct {
	consenttest.Change
	by       string // names the call
	answered bool
}

type modelEvent struct {
	consenttest.Counted
	number uint32
}

// lives are the lives of a process, one after the other.
type lives struct {
	*process
	live func(context.Context)

	mu   sync.Mutex
	kill context.CancelFunc
	dead bool
}

// run lives until ctx ends.
func (l *lives) run(ctx context.Context) {
	for ctx.Err() == nil {
		mine, cancel := context.WithCancel(ctx)
		l.mu.Lock()
		l.kill = cancel
		dead := l.dead
		l.mu.Unlock()
		if !dead {
			l.live(mine)
		}
		cancel()
		time.Sleep(100 * time.Millisecond)
	}
}

func (l *lives) setDead(dead bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead = dead; dead && l.kill != nil {
		l.kill()
	}
}

// playModel makes a history in a bubble, and returns what is wrong with it.
func playModel(folder string, who gates, all []harm, sum *modelSum) error {
	m := &model{brokers: &brokers{control: control.NewMemory(), echoes: control.NewMemory(), store: storetest.NewMemory(), gates: who}, began: time.Now()}
	for i := range m.topics {
		m.topics[i] = newTopic()
	}
	for i := range m.admins {
		m.admins[i] = &modelAdmin{brokers: m.brokers}
		m.lives = append(m.lives, &lives{process: &m.admins[i].process, live: m.admins[i].live})
	}
	for i := range m.edges {
		m.edges[i] = &modelEdge{brokers: m.brokers, id: uint64(i + 1), snapshot: filepath.Join(folder, fmt.Sprint(i))}
		m.lives = append(m.lives, &lives{process: &m.edges[i].process, live: m.edges[i].live})
	}
	for i := range m.consumers {
		m.consumers[i] = &modelConsumer{brokers: m.brokers, partition: i}
		m.lives = append(m.lives, &lives{process: &m.consumers[i].process, live: m.consumers[i].live})
	}
	processes, endAll := context.WithCancel(context.Background())
	var cluster, load sync.WaitGroup
	for _, l := range m.lives {
		cluster.Go(func() { l.run(processes) })
	}
	loading, endLoad := context.WithCancel(context.Background())
	for person := range people {
		load.Go(func() { m.decide(loading, person) })
		for edge := range m.edges {
			load.Go(func() { m.act(loading, person, edge) })
		}
	}
	for _, h := range all {
		load.Go(func() { m.harm(h) })
	}
	time.Sleep(modelTime)
	endLoad()
	load.Wait()
	err := m.settle()
	if err == nil {
		err = m.check(sum)
	}
	endAll()
	cluster.Wait()
	for _, l := range m.lives {
		l.leaving.Wait()
	}
	return err
}

func (m *model) harm(h harm) {
	time.Sleep(h.begin)
	l := m.lives[h.who]
	gate := make(chan struct{})
	set := func(fn func(p *process)) {
		l.process.mu.Lock()
		defer l.process.mu.Unlock()
		fn(l.process)
	}
	switch h.what {
	case "stop":
		set(func(p *process) { p.gate = gate })
	case "cut":
		set(func(p *process) { p.cut = gate })
	case "lossy":
		set(func(p *process) { p.lossy = true })
	case "frozen":
		at, _ := m.control.Head(context.Background())
		echo, _ := m.echoes.Head(context.Background())
		set(func(p *process) { p.frozen = map[*control.Memory]control.Position{m.control: at, m.echoes: echo} })
	case "frozen control log": // it has another leader than echoes
		at, _ := m.control.Head(context.Background())
		set(func(p *process) { p.frozen = map[*control.Memory]control.Position{m.control: at} })
	case "frozen echo log":
		at, _ := m.echoes.Head(context.Background())
		set(func(p *process) { p.frozen = map[*control.Memory]control.Position{m.echoes: at} })
	case "kill":
		l.setDead(true)
	}
	time.Sleep(h.long)
	close(gate)
	switch h.what {
	case "stop":
		set(func(p *process) {
			if p.gate == gate {
				p.gate = nil
			}
		})
	case "cut":
		set(func(p *process) {
			if p.cut == gate {
				p.cut = nil
			}
		})
	case "lossy":
		set(func(p *process) { p.lossy = false })
	case "frozen", "frozen control log", "frozen echo log":
		set(func(p *process) { p.frozen = nil })
	case "kill":
		l.setDead(false)
	}
}

// decide refuses and grants, and now and then says it again.
func (m *model) decide(ctx context.Context, person int) {
	if m.gates == consumersOnly {
		// Who counts can't know what held when something was recorded, only what holds now. Edges do, see consent.Late.
		time.Sleep(rand.N(modelTime * 3 / 4))
	}
	refuse := true
	for n := 0; ctx.Err() == nil; n++ {
		c := modelChange{by: fmt.Sprintf("%d of %d", n, person)}
		c.Person, c.Refuse, c.Call = person, refuse, time.Since(m.began)
		say := consent.Change{Subject: subjectOf(person), Opens: consent.Granted, Source: "page", By: c.by}
		if c.Refuse {
			say.Opens = consent.Refused
		}
		bulk := c.Refuse && rand.IntN(4) == 0 // no import takes a refusal back
		bound, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		c.answered = m.admins[rand.IntN(modelAdmins)].decide(bound, say, bulk)
		cancel()
		c.Return = time.Since(m.began)
		m.mu.Lock()
		m.changes = append(m.changes, c)
		m.mu.Unlock()
		if m.gates == consumersOnly {
			return
		}
		time.Sleep(rand.N(400 * time.Millisecond))
		if rand.IntN(3) > 0 {
			refuse = !refuse
		}
	}
}

// act opens mail at an edge.
func (m *model) act(ctx context.Context, person, edge int) {
	for ctx.Err() == nil {
		time.Sleep(rand.N(150 * time.Millisecond))
		e := modelEvent{}
		m.mu.Lock()
		e.number = uint32(len(m.events)*people + person + people)
		at := len(m.events)
		m.events = append(m.events, e)
		m.mu.Unlock()
		e.Person, e.Call = person, time.Since(m.began)
		m.edges[edge].take(context.Background(), person, e.number)
		e.Return = time.Since(m.began)
		m.mu.Lock()
		m.events[at] = e
		m.mu.Unlock()
	}
}

// settle waits until all that was recorded is counted, or stands under a reason.
func (m *model) settle() error {
	for range 6000 {
		time.Sleep(10 * time.Millisecond)
		if m.settled() {
			return nil
		}
	}
	return errors.New("not everything that was recorded is counted a minute after all faults")
}

func (m *model) settled() bool {
	var recorded, folded uint64
	for _, e := range m.edges {
		shipped, next := e.bounds()
		if shipped < next {
			return false
		}
		recorded += next
	}
	for i, t := range m.topics {
		p, err := m.store.Progress(context.Background(), uint32(i))
		t.mu.Lock()
		n := uint64(len(t.batches))
		t.mu.Unlock()
		if err != nil || p.Offset < n {
			return false
		}
		folded += n
	}
	return folded >= recorded // lost answers double some
}

// check holds the history against what people may rely on.
func (m *model) check(sum *modelSum) error {
	entries, err := m.control.Read(context.Background(), 0, 1<<20)
	if err != nil {
		return err
	}
	at := map[string][]control.Position{}
	writer := consent.NewWriter(m.control, nil, consent.NewTable(consent.BasisSubject))
	if _, err := writer.Changes(context.Background(), 0, func(r consent.Recorded) error {
		at[r.By] = append(at[r.By], r.Position)
		return nil
	}); err != nil {
		return err
	}
	end := time.Since(m.began)
	var changes []consenttest.Change
	for _, c := range m.changes {
		if !c.answered {
			c.Return = end
		} else {
			sum.effective++
		}
		for _, pos := range at[c.by] {
			c.Position = uint64(pos)
			changes = append(changes, c.Change)
		}
		if c.answered && len(at[c.by]) == 0 {
			changes = append(changes, c.Change)
			sum.again++
		}
	}
	var counted []consenttest.Counted
	for i := range m.events {
		e := &m.events[i]
		n, err := m.total(e.number)
		if err != nil {
			return err
		}
		if n > 1 {
			return fmt.Errorf("%+v is counted %d times", *e, n)
		}
		if n == 1 {
			counted = append(counted, e.Counted)
		}
		if m.refused(e) {
			sum.refused++
		}
	}
	sum.histories++
	sum.changes += len(changes)
	sum.events += len(m.events)
	sum.counted += len(counted)
	if err := consenttest.Check(changes, counted); err != nil {
		return fmt.Errorf("%w\n%s", err, m.story(entries))
	}
	return nil
}

// total is how often an event was counted.
func (m *model) total(campaign uint32) (n uint64, err error) {
	cells, err := m.store.Counts(context.Background(), campaign)
	for _, c := range cells {
		if c.Reason == event.Counted {
			n += c.N
		}
	}
	return n, err
}

// refused says whether something was done while a refusal was known to be effective.
func (m *model) refused(e *modelEvent) bool {
	found := false
	for _, c := range m.changes { // a person's are in their order
		switch {
		case c.Person != e.Person || c.Call > e.Return:
		case !c.Refuse && c.Call > e.Call:
			return false
		case c.Call <= e.Call:
			found = c.Refuse && c.answered && c.Return < e.Call
		}
	}
	return found
}

// story is what is to be known of a history that is wrong.
func (m *model) story(entries []control.Entry) string {
	text := ""
	for _, c := range m.changes {
		text += fmt.Sprintf("%+v\n", c)
	}
	for i := range m.events {
		if n, _ := m.total(m.events[i].number); n > 0 && m.refused(&m.events[i]) {
			text += fmt.Sprintf("counted: %+v\n", m.events[i])
		}
	}
	return text + fmt.Sprintf("%d entries", len(entries))
}

var _ aggregate.Source = (*feed)(nil)

// Allows is the fold's question.
func (everybody) Allows(_ event.Kind, subject uint64) (event.Reason, bool) {
	return event.Counted, subject != 0
}
