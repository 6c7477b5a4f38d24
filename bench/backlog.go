package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// backlog is a cluster that finds a full spool: how fast it ships, folds and commits it.
type backlog struct {
	*roles
	events    uint64
	campaigns int
	people    int
	consumers int
	window    time.Duration
	atOnce    bool // the consumers start beside the edge, and not when all is in Kafka
	out       io.Writer
}

func runBacklog(ctx context.Context, args []string, out io.Writer) (err error) {
	b := &backlog{out: out}
	fs := flag.NewFlagSet("backlog", flag.ContinueOnError)
	fs.Uint64Var(&b.events, "events", 5_000_000, "events in the edge's spool")
	fs.IntVar(&b.campaigns, "campaigns", 100, "campaigns they belong to")
	fs.IntVar(&b.people, "people", 1_000_000, "people they are of")
	fs.IntVar(&b.consumers, "consumers", 1, "consumers")
	fs.DurationVar(&b.window, "classify-window", 15*time.Second, "the consumers' setting")
	fs.BoolVar(&b.atOnce, "at-once", true, "start the consumers beside the edge, not when it has shipped all")
	partitions := fs.Int("partitions", 4, "partitions of the topic")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if b.roles, err = newRoles(ctx, *partitions); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	return b.measure(ctx)
}

func (b *backlog) measure(ctx context.Context) error {
	a, err := newAPI("", "", b.admin.data)
	if err != nil {
		return err
	}
	names, first, err := b.campaignsOf(ctx, a)
	if err != nil {
		return err
	}
	listen, err := freeAddress()
	if err != nil {
		return err
	}
	edge := []string{"--listen", listen, "--segment-bytes", "256MiB"}
	empty, err := b.start(ctx, "edge", edge...)
	if err != nil {
		return err
	}
	empty.stop()
	said, err := b.run(ctx, "spool", "fill", filepath.Join(b.folder("edge", 0), "spool"), "--events", strconv.FormatUint(b.events, 10),
		"--campaign", strconv.Itoa(first), "--campaigns", strconv.Itoa(b.campaigns), "--people", strconv.Itoa(b.people))
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "filled: %s, %d campaigns, %d people\n", said, b.campaigns, b.people)
	if err := b.drain(ctx, edge); err != nil {
		return err
	}
	var counted uint64
	for deadline := time.Now().Add(time.Minute); counted != b.events; time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d events are in the reports, %d were in the spool", counted, b.events)
		}
		counted = 0
		for _, name := range names {
			n, err := received(ctx, a, name)
			if err != nil {
				return err
			}
			counted += n
		}
	}
	fmt.Fprintf(b.out, "totals: %d events, all in the reports of %d campaigns\n", counted, len(names))
	return nil
}

// campaignsOf makes campaigns, whose numbers follow each other as long as nobody else makes any.
func (b *backlog) campaignsOf(ctx context.Context, a *api) (names []string, first int, err error) {
	for i := range b.campaigns {
		name := fmt.Sprintf("%s-%d", b.name, i)
		body, err := json.Marshal(map[string]string{"name": name})
		if err != nil {
			return nil, 0, err
		}
		answer, err := a.call(ctx, http.MethodPost, "/v1/campaigns", "application/json", strings.NewReader(string(body)))
		if err != nil {
			return nil, 0, err
		}
		var made struct{ Number int }
		err = json.NewDecoder(answer).Decode(&made)
		answer.Close()
		if err != nil {
			return nil, 0, err
		}
		if i == 0 {
			first = made.Number
		}
		if made.Number != first+i {
			return nil, 0, fmt.Errorf("campaign %d has number %d, not %d", i, made.Number, first+i)
		}
		names = append(names, name)
	}
	return names, first, nil
}

// leg is one part of the way, and how long it took.
type leg struct {
	what   string
	events uint64
	took   time.Duration
	memory float64 // at most, in MiB
	busy   time.Duration
}

// drain starts the edge and the consumers and measures until everything is counted.
func (b *backlog) drain(ctx context.Context, args []string) error {
	began := time.Now()
	edge, err := b.work(ctx, "edge", args...)
	if err != nil {
		return err
	}
	ship := leg{what: "spool to Kafka (edge)", events: b.events}
	if !b.atOnce {
		if err := b.watch(ctx, edge, nil, &ship, nil, began); err != nil {
			return err
		}
	}
	counting := time.Now()
	if b.atOnce {
		counting = began
	}
	var consumers []*process
	for range b.consumers {
		p, err := b.work(ctx, "consume", "--classify-window", b.window.String())
		if err != nil {
			return err
		}
		consumers = append(consumers, p)
	}
	count := leg{what: "Kafka to ClickHouse (consumers)", events: b.events}
	whole := leg{what: "the whole way", events: b.events}
	shipping := &ship
	if !b.atOnce {
		shipping = nil
	}
	if err := b.watch(ctx, edge, consumers, shipping, &count, counting); err != nil {
		return err
	}
	whole.took = time.Since(began)
	whole.memory, whole.busy = ship.memory+count.memory, ship.busy+count.busy
	t := newTable("backlog", "seconds", "events/s", "processor s", "memory MiB")
	for _, l := range []leg{ship, count, whole} {
		t.AppendRow([]any{l.what, fmt.Sprintf("%.1f", l.took.Seconds()), fmt.Sprintf("%.0f", float64(l.events)/l.took.Seconds()),
			fmt.Sprintf("%.1f", l.busy.Seconds()), fmt.Sprintf("%.0f", l.memory)})
	}
	commits := 0.0
	for _, p := range consumers {
		n, _, err := p.metric("mailbeacon_fold_commits_total")
		if err != nil {
			return err
		}
		commits += n
	}
	_, err = fmt.Fprintf(b.out, "%s\n%.0f commits, of %.0f events each\n", t.Render(), commits, float64(b.events)/commits)
	return err
}

// watch waits until what is asked for is done: everything shipped, or everything counted.
func (b *backlog) watch(ctx context.Context, edge *process, consumers []*process, ship, count *leg, began time.Time) error {
	for last := time.Now(); ship != nil && ship.took == 0 || count != nil && count.took == 0; time.Sleep(100 * time.Millisecond) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		waiting, _, err := edge.metric("mailbeacon_ship_waiting_events")
		if err != nil {
			return err
		}
		if ship != nil {
			if err := ship.note([]*process{edge}); err != nil {
				return err
			}
			if waiting == 0 && ship.took == 0 {
				ship.took = time.Since(began)
			}
		}
		counted := 0.0
		for _, p := range consumers {
			n, _, err := p.metric("mailbeacon_fold_events_total") // none before a partition is owned
			if err != nil {
				return err
			}
			counted += n
		}
		if count != nil {
			if err := count.note(consumers); err != nil {
				return err
			}
			if counted >= float64(b.events) {
				count.took = time.Since(began)
			}
		}
		if time.Since(last) > 10*time.Second {
			last = time.Now()
			fmt.Fprintf(b.out, "%4.0fs: %.0f wait, %.0f counted\n", time.Since(began).Seconds(), waiting, counted)
		}
	}
	return nil
}

// note keeps the most memory that processes had, and the processor time that they used.
func (l *leg) note(of []*process) error {
	memory, busy := 0.0, 0.0
	for _, p := range of {
		m, _, err := p.metric("process_resident_memory_bytes")
		if err != nil {
			return err
		}
		c, _, err := p.metric("process_cpu_seconds_total")
		if err != nil {
			return err
		}
		memory, busy = memory+m/(1<<20), busy+c
	}
	if l.took == 0 {
		l.memory, l.busy = max(l.memory, memory), time.Duration(busy*float64(time.Second))
	}
	return nil
}

// received is how many events of a campaign the report knows, counted or not.
func received(ctx context.Context, a *api, name string) (uint64, error) {
	body, err := a.call(ctx, http.MethodGet, "/v1/campaigns/"+name+"/report", "", nil)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	var r struct{ Opens, Clicks struct{ Received uint64 } }
	if err := json.NewDecoder(body).Decode(&r); err != nil {
		return 0, fmt.Errorf("report of %s: %w", name, err)
	}
	return r.Opens.Received + r.Clicks.Received, nil
}
