package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// propagation is how long a change of consent takes to hold on every edge of a cluster.
type propagation struct {
	*roles
	api     *api
	edges   []*process
	changes int
	pause   time.Duration
}

func runConsent(ctx context.Context, args []string, out io.Writer) (err error) {
	p := &propagation{}
	fs := flag.NewFlagSet("consent", flag.ContinueOnError)
	edges := fs.Int("edges", 4, "edges of the cluster")
	fs.IntVar(&p.changes, "changes", 1000, "changes of each measurement")
	fs.DurationVar(&p.pause, "pause", 10*time.Millisecond, "time between two changes")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *edges < 1 || p.changes < 1 || p.pause < 0 {
		return errors.New("-edges and -changes must be at least 1, and -pause not below 0")
	}
	if p.roles, err = newRoles(ctx, 12); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if p.api, err = newAPI("", "", p.admin.data); err != nil {
		return err
	}
	for range *edges {
		edge, err := p.work(ctx, "edge", "--listen", "127.0.0.1:0")
		if err != nil {
			return err
		}
		p.edges = append(p.edges, edge)
	}
	if _, err := p.work(ctx, "consume"); err != nil {
		return err
	}
	return p.measure(ctx, out)
}

// warmUp is how many changes are made before any is measured, and settle how long all may take to know of
// each other.
const (
	warmUp = 50
	settle = 10 * time.Second
)

func (p *propagation) measure(ctx context.Context, out io.Writer) error {
	time.Sleep(settle)
	if _, err := p.series(ctx, "warm", warmUp, p.change); err != nil {
		return err
	}
	t := newTable(fmt.Sprintf("%d edges, a consumer, an admin", len(p.edges)), "changes", "p50 ms", "p99 ms", "longest ms")
	for _, m := range []struct {
		name string
		once func(context.Context, string) (time.Duration, error)
	}{
		{"POST to the answer effective: true", p.change},
		{"POST until the slowest edge has folded it", p.folded},
		{"POST of what was said last, to its answer", p.again},
	} {
		hist, err := p.series(ctx, m.name, p.changes, m.once)
		if err != nil {
			return err
		}
		row := []any{m.name, hist.TotalCount()}
		for _, q := range []float64{50, 99, 100} {
			row = append(row, fmt.Sprintf("%.1f", float64(hist.ValueAtQuantile(q))/1000))
		}
		t.AppendRow(row)
	}
	_, err := fmt.Fprintln(out, t.Render())
	return err
}

// series measures n changes, one after the other, each of somebody else.
func (p *propagation) series(ctx context.Context, name string, n int, once func(context.Context, string) (time.Duration, error)) (*hdrhistogram.Histogram, error) {
	hist := hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
	for i := range n {
		took, err := once(ctx, fmt.Sprintf("reader%d.%d@example.com", i, len(name)))
		if err != nil {
			return nil, fmt.Errorf("%s, change %d: %w", name, i, err)
		}
		if err := hist.RecordValue(took.Microseconds()); err != nil {
			return nil, err
		}
		time.Sleep(p.pause)
	}
	return hist, ctx.Err()
}

// effect is what the API answers to a change.
type effect struct {
	Position  uint64 `json:"position"`
	Effective bool   `json:"effective"`
}

func (p *propagation) refuse(ctx context.Context, who string) (e effect, err error) {
	in, err := json.Marshal(map[string]string{"subject": who, "opens": "refused", "source": "bench"})
	if err != nil {
		return e, err
	}
	body, err := p.api.call(ctx, http.MethodPost, "/v1/consent", "application/json", bytes.NewReader(in))
	if err != nil {
		return e, err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(&e); err != nil {
		return e, err
	}
	if !e.Effective {
		return e, errors.New("it is not effective")
	}
	return e, nil
}

func (p *propagation) change(ctx context.Context, who string) (time.Duration, error) {
	began := time.Now()
	_, err := p.refuse(ctx, who)
	return time.Since(began), err
}

func (p *propagation) again(ctx context.Context, who string) (time.Duration, error) {
	if _, err := p.refuse(ctx, who); err != nil {
		return 0, err
	}
	return p.change(ctx, who)
}

// folded watches how far every edge has folded the log while a change is made. What asking takes counts as delay.
func (p *propagation) folded(ctx context.Context, who string) (time.Duration, error) {
	const metric = "mailbeacon_control_applied"
	began := time.Now()
	var position uint64
	known := make(chan struct{}) // position is
	took, failed := make([]time.Duration, len(p.edges)), make([]error, len(p.edges))
	var all sync.WaitGroup
	for i, edge := range p.edges {
		all.Go(func() {
			type look struct {
				at       time.Duration
				position float64
			}
			var looks []look
			for {
				v, _, err := edge.metric(metric)
				if err != nil {
					failed[i] = err
					return
				}
				looks = append(looks, look{time.Since(began), v})
				select {
				case <-known:
					if position == 0 || ctx.Err() != nil {
						return
					}
					for _, l := range looks {
						if l.position >= float64(position) {
							took[i] = l.at
							return
						}
					}
				default:
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	e, err := p.refuse(ctx, who)
	position = e.Position
	close(known)
	all.Wait()
	slowest := time.Duration(0)
	for _, d := range took {
		slowest = max(slowest, d)
	}
	return slowest, errors.Join(append(failed, err)...)
}
