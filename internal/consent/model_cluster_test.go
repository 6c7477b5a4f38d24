package consent_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/event"
	"mailbeacon/ingest/storetest"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
)

// The model of a cluster in one process: followers, echoes, the consent table, the writer and the fold are the
// product's; the spool, the topics and the way to them are simple things that faults are done to.

var errCut = errors.New("the broker does not answer")

// process is what is harmed: it may be stopped, and its way to the brokers be cut, lossy or led to one that was
// cut off.
type process struct {
	mu      sync.Mutex
	gate    chan struct{} // of all it does; nil: it runs
	cut     chan struct{} // of its way; nil: it is there
	lossy   bool
	frozen  map[*control.Memory]control.Position // where the broker it reaches stopped to know more
	leaving sync.WaitGroup                       // appends that arrive when nobody waits for them any more
}

// wait waits for a gate to open.
func (p *process) wait(ctx context.Context, which func(*process) chan struct{}) error {
	for {
		p.mu.Lock()
		gate := which(p)
		p.mu.Unlock()
		if gate == nil {
			return ctx.Err()
		}
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// step is where the process may be stopped.
func (p *process) step(ctx context.Context) error {
	return p.wait(ctx, func(p *process) chan struct{} { return p.gate })
}

// pass is where its way may be cut.
func (p *process) pass(ctx context.Context) error {
	if err := p.step(ctx); err != nil {
		return err
	}
	if err := p.wait(ctx, func(p *process) chan struct{} { return p.cut }); err != nil {
		return err
	}
	time.Sleep(rand.N(4 * time.Millisecond))
	return p.step(ctx)
}

// there says whether it runs, and its way is there.
func (p *process) there() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gate == nil && p.cut == nil
}

// send does a write, or does it without saying so, or later, or does not.
func (p *process) send(ctx context.Context, write func()) error {
	if err := p.pass(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	lossy := p.lossy
	p.mu.Unlock()
	if !lossy {
		write()
		return p.pass(ctx)
	}
	switch rand.IntN(5) {
	case 0:
		write()
		return errCut
	case 1:
		p.leaving.Go(func() {
			time.Sleep(rand.N(4 * time.Second))
			write()
		})
		return errCut
	case 2:
		return errCut
	}
	write()
	return nil
}

// way is a process's way to a log.
type way struct {
	*control.Memory
	p *process
}

func (w way) Append(ctx context.Context, records ...control.Record) (control.Position, error) {
	if _, ok := w.end(); ok { // the broker does not reach its replicas
		<-ctx.Done()
		return 0, ctx.Err()
	}
	type outcome struct {
		pos control.Position
		err error
	}
	wrote := make(chan outcome, 1) // a write that is late comes when nobody waits for it
	if err := w.p.send(ctx, func() {
		pos, err := w.Memory.Append(context.Background(), records...)
		wrote <- outcome{pos, err}
	}); err != nil {
		return 0, err
	}
	done := <-wrote
	return done.pos, done.err
}

// end is what the broker at hand takes for the log's end; false: it is no other than the log's.
func (w way) end() (control.Position, bool) {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	at, ok := w.p.frozen[w.Memory]
	return at, ok
}

// Read does not wait: whoever reads holds a lock, on which time in a bubble would stand still.
func (w way) Read(ctx context.Context, after control.Position, limit int) ([]control.Entry, error) {
	if !w.p.there() {
		return nil, errCut
	}
	if at, ok := w.end(); ok {
		if after >= at {
			return nil, nil
		}
		limit = min(limit, int(at-after))
	}
	return w.Memory.Read(ctx, after, limit)
}

func (w way) Wait(ctx context.Context, after control.Position) error {
	if err := w.p.pass(ctx); err != nil {
		return err
	}
	for {
		if at, ok := w.end(); !ok || at > after {
			err := w.Memory.Wait(ctx, after)
			return errors.Join(err, w.p.pass(ctx))
		}
		select { // until somebody else leads
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// History is not for a log of which a broker that was cut off may tell.
func (w way) History(context.Context, control.Kind, string) ([]control.Entry, error) {
	panic("a log that drops what is old was searched")
}

func (w way) Head(ctx context.Context) (control.Position, error) {
	if !w.p.there() {
		return 0, errCut
	}
	if at, ok := w.end(); ok {
		return at, nil
	}
	return w.Memory.Head(ctx)
}

// topic is a partition of events: a list of batches.
type topic struct {
	mu      sync.Mutex
	batches []aggregate.Batch
	grown   chan struct{}
}

func newTopic() *topic { return &topic{grown: make(chan struct{})} }

func (t *topic) add(b aggregate.Batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b.Offset = uint64(len(t.batches))
	t.batches = append(t.batches, b)
	close(t.grown)
	t.grown = make(chan struct{})
}

// feed is how a process reads a topic. It implements aggregate.Source and Feed.
type feed struct {
	t  *topic
	p  *process
	at uint64
}

func (f *feed) Open(from, _ uint64) (aggregate.Feed, error) { return &feed{f.t, f.p, from}, nil }
func (f *feed) Trim(uint64) error                           { return nil }
func (f *feed) Close() error                                { return nil }

func (f *feed) Next(ctx context.Context) (aggregate.Batch, error) {
	for {
		if err := f.p.pass(ctx); err != nil {
			return aggregate.Batch{}, err
		}
		f.t.mu.Lock()
		grown, all := f.t.grown, f.t.batches
		f.t.mu.Unlock()
		if f.at < uint64(len(all)) {
			f.at++
			return all[f.at-1], f.p.step(ctx)
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return aggregate.Batch{}, ctx.Err()
		}
	}
}

// anyCampaign is there.
type anyCampaign struct{}

func (anyCampaign) HashKey(uint32) ([16]byte, bool) { return [16]byte{1}, true }
func (anyCampaign) LinkCount(uint32) int            { return 3 }
func (anyCampaign) DateOnly(uint32) bool            { return false }

// brokers are what the processes have in common.
type brokers struct {
	control, echoes *control.Memory
	topics          [people]*topic
	store           *storetest.Memory
	gates           gates
}

// gates say who looks at consent, and at his leave: each kind of process must do alone.
type gates string

const (
	bothGates     gates = "edges and consumers"
	edgesAlone    gates = "edges"
	consumersOnly gates = "consumers"
)

// everybody may be counted.
type everybody struct{}

func (everybody) Verdict(event.Kind, uint64) event.Reason { return event.Counted }
func (everybody) Attributed(event.Kind, uint64) bool      { return true }

// life runs the parts of a process until one ends, or it is told to.
func life(ctx context.Context, parts ...func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	for _, part := range parts {
		all.Go(func() {
			_ = part(ctx) // it may have had to end
			cancel()
		})
	}
	all.Wait()
}

// modelEdge is an edge; spool and shipped outlive it.
type modelEdge struct {
	process
	*brokers
	id       uint64
	snapshot string

	mu      sync.Mutex
	spool   []event.Event
	shipped uint64
	table   *consent.Table // of its present life; nil: it has none
}

// bounds are as the late refusals need them.
func (e *modelEdge) bounds() (shipped, next uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.shipped, uint64(len(e.spool))
}

// live is one life of an edge.
func (e *modelEdge) live(ctx context.Context) {
	table := consent.NewTable(consent.BasisSubject)
	var echoer *control.Echoer
	late := consent.NewLate(func() bool { return echoer.Open() }, e.bounds)
	follower, err := control.OpenFollower(control.FollowerOptions{
		Log: way{e.control, &e.process}, Folders: []control.Folder{table}, Snapshot: e.snapshot, SnapshotEntries: 3, SnapshotInterval: time.Second,
		Before: late.Note, After: late.Folded, Hold: late.Holding,
	})
	if err != nil {
		panic(err)
	}
	echoer = control.NewEchoer(way{e.echoes, &e.process}, follower, "edge", nil)
	e.serves(table)
	life(ctx, follower.Run, echoer.Run, func(ctx context.Context) error {
		e.ship(ctx, table, late, echoer.Open)
		return nil
	})
	e.serves(nil)
}

func (e *modelEdge) serves(table *consent.Table) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.table = table
}

// take is an open: it is answered, and recorded before, or nobody is there.
func (e *modelEdge) take(ctx context.Context, person int, number uint32) bool {
	if e.step(ctx) != nil {
		return false
	}
	e.mu.Lock()
	table := e.table
	e.mu.Unlock()
	if table == nil {
		return false
	}
	wrong := rand.N(96*time.Hour) - 48*time.Hour // its wall clock
	ev := event.Event{Time: time.Now().Add(wrong).UnixMilli(), Subject: subjectOf(person), Campaign: number, Kind: event.Open}
	if reason := table.Verdict(ev.Kind, ev.Subject); reason != event.Counted && e.gates != consumersOnly {
		ev.Suppress(reason)
	}
	time.Sleep(rand.N(5 * time.Millisecond))
	if e.step(ctx) != nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.spool = append(e.spool, ev)
	return true
}

// ship is the shipper: what was recorded, then leave, then what is known of consent, again for each try.
func (e *modelEdge) ship(ctx context.Context, table *consent.Table, late *consent.Late, open func() bool) {
	for ctx.Err() == nil {
		shipped, next := e.bounds()
		if shipped == next {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		e.mu.Lock()
		ev := e.spool[shipped]
		e.mu.Unlock()
		if e.step(ctx) != nil {
			break
		}
		if e.gates != consumersOnly && !open() {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		if e.step(ctx) != nil {
			break
		}
		to := e.topics[ev.Campaign%people]
		if ev.Reason == event.Counted && e.gates != consumersOnly {
			reason := table.Verdict(ev.Kind, ev.Subject)
			if reason == event.Counted {
				reason = late.Reason(ev.Kind, ev.Subject, shipped)
			}
			if reason != event.Counted {
				ev.Suppress(reason)
			}
		}
		b := aggregate.Batch{Edge: e.id, Epoch: 1, First: shipped, Events: []event.Event{ev}}
		bound, cancel := context.WithTimeout(ctx, 3*time.Second)
		err := e.send(bound, func() { to.add(b) })
		cancel()
		if err == nil {
			e.mu.Lock()
			e.shipped++
			e.mu.Unlock()
		}
	}
}

// modelConsumer counts one topic.
type modelConsumer struct {
	process
	*brokers
	partition int
}

func (c *modelConsumer) live(ctx context.Context) {
	table := consent.NewTable(consent.BasisSubject)
	follower, err := control.OpenFollower(control.FollowerOptions{Log: way{c.control, &c.process}, Folders: []control.Folder{table}})
	if err != nil {
		panic(err)
	}
	echoer := control.NewEchoer(way{c.echoes, &c.process}, follower, "consume", nil)
	o := aggregate.RunnerOptions{
		Source: &feed{t: c.topics[c.partition], p: &c.process}, Store: c.store, Interval: 50 * time.Millisecond, FreshUntil: echoer.OpenUntil,
		Fold: aggregate.FoldOptions{Partition: uint32(c.partition), Consent: table, Campaigns: anyCampaign{}, Window: 100 * time.Millisecond},
	}
	if c.gates == edgesAlone {
		o.FreshUntil, o.Fold.Consent = nil, everybody{}
	}
	runner, err := aggregate.NewRunner(o)
	if err != nil {
		panic(err)
	}
	life(ctx, follower.Run, echoer.Run, runner.Run)
}

// modelAdmin takes decisions.
type modelAdmin struct {
	process
	*brokers

	mu     sync.Mutex
	writer *consent.Writer // of its present life; nil: it has none
}

func (a *modelAdmin) live(ctx context.Context) {
	table, log := consent.NewTable(consent.BasisSubject), way{a.control, &a.process}
	table.Remember(people)
	follower, err := control.OpenFollower(control.FollowerOptions{Log: log, Folders: []control.Folder{table}})
	if err != nil {
		panic(err)
	}
	echoes := control.NewEchoes(way{a.echoes, &a.process}, follower, nil)
	a.takes(consent.NewWriter(log, follower, table).Compacted().Everywhere(echoes.Await))
	life(ctx, follower.Run, echoes.Run, func(ctx context.Context) error {
		return control.Beat(ctx, log, slog.New(slog.DiscardHandler))
	})
	a.takes(nil)
}

func (a *modelAdmin) takes(w *consent.Writer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.writer = w
}

// decide records a decision, by itself or as an import; true: it is effective.
func (a *modelAdmin) decide(ctx context.Context, c consent.Change, bulk bool) bool {
	a.mu.Lock()
	w := a.writer
	a.mu.Unlock()
	if w == nil || a.step(ctx) != nil {
		return false
	}
	if !bulk {
		_, effective, err := w.Change(ctx, c)
		return err == nil && effective
	}
	if w.Settle(ctx) != nil {
		return false
	}
	pos, _, err := w.Import(ctx, []consent.Change{c})
	return err == nil && w.Effective(ctx, pos)
}
