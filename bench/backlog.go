package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// backlog is a cluster that finds a full spool: how fast it ships, folds and commits it.
type backlog struct {
	events    uint64
	campaigns int
	people    int
	consumers int
	out       io.Writer
	dir       string
	env       []string
	admin     *process
	workers   []*process // the edge and the consumers
}

func runBacklog(ctx context.Context, args []string, out io.Writer) (err error) {
	b := &backlog{out: out}
	fs := flag.NewFlagSet("backlog", flag.ContinueOnError)
	fs.Uint64Var(&b.events, "events", 5_000_000, "events in the edge's spool")
	fs.IntVar(&b.campaigns, "campaigns", 100, "campaigns they belong to")
	fs.IntVar(&b.people, "people", 1_000_000, "people they are of")
	fs.IntVar(&b.consumers, "consumers", 1, "consumers")
	if err := fs.Parse(args); err != nil {
		return err
	}
	for _, name := range []string{"MAILBEACON_KAFKA", "MAILBEACON_CLICKHOUSE"} {
		if os.Getenv(name) == "" {
			return fmt.Errorf("%s is not set; `make engines` starts both engines and prints it", name)
		}
	}
	if b.dir, err = os.MkdirTemp("", "mailbeacon-backlog-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	defer b.stop()
	if err := buildMailbeacon(ctx, b.dir); err != nil {
		return err
	}
	return b.run(ctx)
}

func (b *backlog) stop() {
	for i := len(b.workers) - 1; i >= 0; i-- {
		b.workers[i].stop()
	}
	b.admin.stop()
}

// mailbeacon runs a command to its end.
func (b *backlog) mailbeacon(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(b.dir, "mailbeacon"), args...)
	cmd.Env = append(os.Environ(), b.env...)
	text, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("mailbeacon %s: %w\n%s", strings.Join(args, " "), err, text)
	}
	return strings.TrimSpace(string(text)), nil
}

// role starts a role and waits until its private side answers.
func (b *backlog) role(ctx context.Context, role, name string, args ...string) (*process, error) {
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(b.dir, name)
	args = append([]string{role, "--data", data, "--admin", admin}, args...)
	p := newProcess(admin, filepath.Join(b.dir, "mailbeacon"), args...)
	p.cmd.Env = append(os.Environ(), b.env...)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.data = data
	return p, p.await(ctx, func() bool {
		resp, err := http.Get("http://" + admin + "/healthz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

func (b *backlog) run(ctx context.Context) error {
	// Names of this run's own: the engines may hold the topics and tables of others.
	run := "bench" + strconv.FormatInt(time.Now().Unix(), 36)
	store := os.Getenv("MAILBEACON_CLICKHOUSE")
	store = store[:strings.LastIndexByte(store, '/')+1] + run
	b.env = []string{"MAILBEACON_TOPICS=" + run, "MAILBEACON_CLICKHOUSE=" + store, "MAILBEACON_GROUP=" + run, "MAILBEACON_KEYRING=" + filepath.Join(b.dir, "keyring.json")}
	if _, err := b.mailbeacon(ctx, "keyring", "create", filepath.Join(b.dir, "keyring.json")); err != nil {
		return err
	}
	if _, err := b.mailbeacon(ctx, "admin", "migrate"); err != nil {
		return err
	}
	var err error
	if b.admin, err = b.role(ctx, "admin", "admin", "--public-url", "http://localhost", "--partitions", "4"); err != nil {
		return err
	}
	a, err := newAPI("", "", b.admin.data)
	if err != nil {
		return err
	}
	names, first, err := b.campaignsOf(ctx, a, run)
	if err != nil {
		return err
	}
	said, err := b.mailbeacon(ctx, "spool", "fill", filepath.Join(b.dir, "edge", "spool"), "--events", strconv.FormatUint(b.events, 10),
		"--campaign", strconv.Itoa(first), "--campaigns", strconv.Itoa(b.campaigns), "--people", strconv.Itoa(b.people))
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "filled: %s, %d campaigns, %d people\n", said, b.campaigns, b.people)
	if err := b.drain(ctx); err != nil {
		return err
	}
	var counted uint64
	for _, name := range names {
		n, err := received(ctx, a, name)
		if err != nil {
			return err
		}
		counted += n
	}
	if counted != b.events {
		return fmt.Errorf("%d events are in the reports, %d were in the spool", counted, b.events)
	}
	fmt.Fprintf(b.out, "totals: %d events, all in the reports of %d campaigns\n", counted, len(names))
	return nil
}

// campaignsOf makes campaigns, whose numbers follow each other as long as nobody else makes any.
func (b *backlog) campaignsOf(ctx context.Context, a *api, run string) (names []string, first int, err error) {
	for i := range b.campaigns {
		name := fmt.Sprintf("%s-%d", run, i)
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

// drain starts the edge and the consumers and measures until everything is counted.
func (b *backlog) drain(ctx context.Context) error {
	listen, err := freeAddress()
	if err != nil {
		return err
	}
	began := time.Now()
	edge, err := b.role(ctx, "edge", "edge", "--listen", listen, "--segment-bytes", "256MiB")
	if err != nil {
		return err
	}
	b.workers = append(b.workers, edge)
	for i := range b.consumers {
		p, err := b.role(ctx, "consume", fmt.Sprintf("consume-%d", i), "--classify-window", "15s")
		if err != nil {
			return err
		}
		b.workers = append(b.workers, p)
	}
	var shipped time.Duration
	var memory [2]float64 // of the edge and of the consumers, at most, in MiB
	for last := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		waiting, err := gaugeOf(edge, "mailbeacon_ship_waiting_events")
		if err != nil {
			return err
		}
		if waiting == 0 && shipped == 0 {
			shipped = time.Since(began)
		}
		counted := 0.0
		for i, p := range b.workers {
			size, err := gaugeOf(p, "process_resident_memory_bytes")
			if err != nil {
				return err
			}
			memory[min(i, 1)] = max(memory[min(i, 1)], size/(1<<20))
			if i > 0 {
				n, _ := gaugeOf(p, "mailbeacon_fold_events_total") // none before a partition is owned
				counted += n
			}
		}
		if time.Since(last) > 10*time.Second {
			last = time.Now()
			fmt.Fprintf(b.out, "%4.0fs: %.0f wait, %.0f counted\n", time.Since(began).Seconds(), waiting, counted)
		}
		if counted >= float64(b.events) {
			break
		}
	}
	took := time.Since(began)
	t := newTable("backlog", "seconds", "events/s", "memory MiB")
	t.AppendRow([]any{"in Kafka (edge)", fmt.Sprintf("%.1f", shipped.Seconds()), fmt.Sprintf("%.0f", float64(b.events)/shipped.Seconds()), fmt.Sprintf("%.0f", memory[0])})
	t.AppendRow([]any{"counted in ClickHouse (consumers)", fmt.Sprintf("%.1f", took.Seconds()), fmt.Sprintf("%.0f", float64(b.events)/took.Seconds()), fmt.Sprintf("%.0f", memory[1])})
	_, err = fmt.Fprintln(b.out, t.Render())
	return err
}

// gaugeOf is the sum of a metric over its labels.
func gaugeOf(p *process, name string) (float64, error) {
	resp, err := http.Get("http://" + p.addr + "/metrics")
	if err != nil {
		return 0, fmt.Errorf("%w; it said:\n%s", err, p.log)
	}
	defer resp.Body.Close()
	sum, found := 0.0, false
	sc := bufio.NewScanner(resp.Body)
	for sc.Scan() {
		rest, ok := strings.CutPrefix(sc.Text(), name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", name, err)
		}
		sum, found = sum+v, true
	}
	if !found && sc.Err() == nil {
		return 0, fmt.Errorf("there is no metric %s", name)
	}
	return sum, sc.Err()
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
