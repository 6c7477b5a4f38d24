package advertiser

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/clickhouse"
	"mailbeacon/ingest/sqlite"
	"mailbeacon/ingest/storetest"
	engine "mailbeacon/internal/engines/clickhouse"
	"mailbeacon/internal/engines/clickhouse/clickhousetest"
	"mailbeacon/internal/privacy"
)

// check holds a chain to what must be true of it however it came about.
func check(t *testing.T, store aggregate.Store, name string, budget int) []aggregate.Closing {
	t.Helper()
	chain, err := store.Closings(context.Background(), name)
	must(t, err)
	var last time.Time
	people, count, years := map[uint32]uint64{}, map[uint32]int{}, map[int]int{}
	for i, c := range chain {
		if int(c.Number) != i+1 || !last.Before(c.End) {
			t.Fatalf("closing %d is number %d, up to %v after %v", i+1, c.Number, c.End, last)
		}
		last = c.End
		for _, r := range c.Releases {
			if off := r.Noised - int64(r.People-people[r.Campaign]); r.People < people[r.Campaign] || off > 60 || off < -60 {
				t.Fatalf("campaign %d goes from %d people to %d, and %d is released", r.Campaign, people[r.Campaign], r.People, r.Noised)
			}
			people[r.Campaign] = r.People
			years[Epoch{c.Start, c.End}.year()]++
			count[r.Campaign]++
		}
	}
	for campaign, n := range count {
		if n > MostCells {
			t.Errorf("campaign %d has %d cells", campaign, n)
		}
	}
	for year, n := range years {
		if n > budget {
			t.Errorf("%d releases in %d on a budget of %d", n, year, budget)
		}
	}
	return chain
}

// manyClosers has several processes, whose clocks differ by more than an epoch at times, close for one advertiser at once, while
// people click; each epoch once, the budget kept, nobody in two cells.
func manyClosers(t *testing.T, stores []aggregate.Store) {
	const campaigns, weeks, budget = 3, 6, 8
	g := newRig(t, stores[0], 1)
	for range campaigns {
		g.books.add(1000, "ACME")
	}
	closers := make([]*Reports, len(stores))
	clocks := make([]*clock, len(stores))
	for i, store := range stores {
		clocks[i] = &clock{}
		r, err := New(Options{Store: store, Campaigns: g.books, Budget: budget, Epsilon: privacy.Epsilon{Num: 1, Den: 1}, now: clocks[i].now})
		must(t, err)
		closers[i] = r
	}
	told := make([]map[string]string, len(stores)) // of each cell, what was seen first
	for week := range weeks {
		g.click(t, uint32(week%campaigns+1), 1, 50*week, 50*week+70)
		var wg sync.WaitGroup
		for i, r := range closers {
			clocks[i].week(week + 1 + i%2) // every other one is a week ahead
			if told[i] == nil {
				told[i] = map[string]string{}
			}
			wg.Go(func() {
				if err := r.Close(t.Context()); err != nil {
					t.Errorf("closer %d: %v", i, err)
					return
				}
				see(t, r, told[i])
			})
		}
		wg.Wait()
	}
	chain := check(t, stores[0], "ACME", budget)
	if len(chain) < weeks || len(chain) > weeks+1 {
		t.Errorf("%d closings of %d weeks", len(chain), weeks)
	}
	for i := range told {
		see(t, closers[0], told[i])
	}
}

// see notes every cell that a report shows, and fails where one differs from what was seen before.
func see(t *testing.T, r *Reports, told map[string]string) {
	t.Helper()
	rep, err := r.Report(context.Background(), "ACME")
	if err != nil {
		t.Errorf("report: %v", err)
		return
	}
	for _, c := range rep.Campaigns {
		for _, cell := range c.Cells {
			key, now := c.Campaign+cell.To.String(), asJSON(t, cell)
			if was, ok := told[key]; ok && was != now {
				t.Errorf("%s was told as %s and is %s", key, was, now)
			}
			told[key] = now
		}
	}
}

func TestRivals(t *testing.T) {
	t.Parallel()
	same := func(store aggregate.Store, n int) (all []aggregate.Store) {
		for range n {
			all = append(all, store)
		}
		return all
	}
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		manyClosers(t, same(storetest.NewMemory(), 4))
	})
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		var stores []aggregate.Store
		path := filepath.Join(t.TempDir(), "counts.db")
		for range 4 { // each with connections of its own
			s, err := sqlite.OpenCounts(t.Context(), path)
			must(t, err)
			defer s.Close()
			stores = append(stores, s)
		}
		manyClosers(t, stores)
	})
	t.Run("clickhouse", func(t *testing.T) {
		t.Parallel()
		o := database(t, clickhousetest.Start(t), "advertiser_rivals")
		var stores []aggregate.Store
		for range 4 {
			s, err := clickhouse.Open(t.Context(), o)
			must(t, err)
			defer s.Close()
			stores = append(stores, s)
		}
		manyClosers(t, stores)
	})
}

func database(t *testing.T, s *engine.Server, name string) clickhouse.Options {
	t.Helper()
	o := clickhouse.Options{Addr: []string{s.Native}, Database: fmt.Sprintf("%s_%d", name, time.Now().UnixNano()), User: "default", Password: s.Password}
	_, err := clickhouse.Migrate(t.Context(), o)
	must(t, err)
	return o
}

// TestEngineKilled: ClickHouse is killed at random while two close; what was told before a kill is told after it.
func TestEngineKilled(t *testing.T) {
	t.Parallel()
	kills := 6
	if testing.Short() {
		kills = 2
	}
	server := clickhousetest.Own(t, engine.Options{})
	o := database(t, server, "advertiser_kill")
	mailings := &books{}
	const budget = 1000
	for range 5 {
		mailings.add(1000, "ACME")
	}
	var week sync.Mutex
	at := 0
	ctx, stop := context.WithCancel(t.Context())
	var closings atomic.Uint64
	told := make([]map[string]string, 2)
	var wg sync.WaitGroup
	for i := range told {
		told[i] = map[string]string{}
		store, err := clickhouse.Open(t.Context(), o)
		must(t, err)
		defer store.Close()
		c := &clock{}
		r, err := New(Options{Store: store, Campaigns: mailings, Budget: budget, now: c.now})
		must(t, err)
		wg.Go(func() {
			for ctx.Err() == nil {
				week.Lock()
				if at++; at%3 == 0 {
					mailings.add(1000, "ACME") // so that there is always something to draw
				}
				c.week(at/2 + i)
				week.Unlock()
				call, cancel := context.WithTimeout(ctx, 5*time.Second)
				before := r.Stats().Closed
				if err := r.Close(call); err == nil {
					closings.Add(r.Stats().Closed - before)
					if rep, err := r.Report(call, "ACME"); err == nil {
						note(t, rep, told[i])
					}
				} else {
					time.Sleep(20 * time.Millisecond) // the engine is down: no year goes by
				}
				cancel()
			}
		})
	}
	for range kills {
		// At any moment after something was closed, however busy the machine is.
		for before, deadline := closings.Load(), time.Now().Add(time.Minute); closings.Load() == before; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("nothing is closed any more")
			}
		}
		time.Sleep(rand.N(200 * time.Millisecond))
		server.Kill()
		must(t, server.Restart(t.Context()))
	}
	time.Sleep(500 * time.Millisecond)
	stop()
	wg.Wait()
	store, err := clickhouse.Open(t.Context(), o)
	must(t, err)
	defer store.Close()
	chain := check(t, store, "ACME", budget)
	r, err := New(Options{Store: store, Campaigns: mailings, Budget: budget, now: time.Now})
	must(t, err)
	cells := 0
	for i := range told {
		cells += len(told[i])
		rep, err := r.Report(t.Context(), "ACME")
		must(t, err)
		note(t, rep, told[i])
	}
	t.Logf("%d kills, %d closings, %d cells seen by both", kills, len(chain), cells)
	if len(chain) < kills || cells == 0 {
		t.Error("nothing was closed between the kills")
	}
}

// note is see for a report that is there.
func note(t *testing.T, rep *Report, told map[string]string) {
	t.Helper()
	for _, c := range rep.Campaigns {
		for _, cell := range c.Cells {
			key, now := c.Campaign+cell.To.String(), asJSON(t, cell)
			if was, ok := told[key]; ok && was != now {
				t.Errorf("%s was told as %s and is %s", key, was, now)
			}
			told[key] = now
		}
	}
}

// closerFolder is where a process of TestKilled keeps its store.
const closerFolder = "MAILBEACON_TEST_CLOSER"

// closeUntilKilled closes a week after the other and prints what the report says each time.
func closeUntilKilled() int {
	ctx := context.Background()
	store, err := sqlite.OpenCounts(ctx, filepath.Join(os.Getenv(closerFolder), "counts.db"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	chain, err := store.Closings(ctx, "ACME")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	b, c := &books{}, &clock{}
	for i := 0; i < 20+len(chain); i++ { // some that are new, and have cells to come
		b.add(1000, "ACME")
	}
	r, err := New(Options{Store: store, Campaigns: b, Budget: 1_000_000, now: c.now})
	for week := len(chain); err == nil; week++ {
		c.week(week + 1)
		if err = r.Close(ctx); err != nil {
			break
		}
		var rep *Report
		if rep, err = r.Report(ctx, "ACME"); err == nil {
			b.add(1000, "ACME")
			var line []byte
			if line, err = json.Marshal(rep); err == nil {
				fmt.Println(string(line))
			}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// TestKilled: a process that closes is killed, at any step, again and again. Every number that it told stays as it was told.
func TestKilled(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	kills := 12
	if n, err := strconv.Atoi(os.Getenv("MAILBEACON_KILLS")); err == nil {
		kills = n
	} else if testing.Short() {
		kills = 3
	}
	told := map[string]string{}
	for i := range kills {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), closerFolder+"="+folder)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		time.AfterFunc(time.Duration(300+37*i)*time.Millisecond, func() { _ = cmd.Process.Kill() })
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 64<<20)
		for lines.Scan() {
			var rep Report
			if json.Unmarshal(lines.Bytes(), &rep) == nil { // the last line may be cut
				note(t, &rep, told)
			}
		}
		_ = cmd.Wait() // killed
	}
	store, err := sqlite.OpenCounts(t.Context(), filepath.Join(folder, "counts.db"))
	must(t, err)
	defer store.Close()
	chain := check(t, store, "ACME", 1_000_000)
	if len(chain) == 0 || len(told) == 0 {
		t.Fatalf("%d closings, %d cells seen", len(chain), len(told))
	}
	t.Logf("%d kills, %d closings, %d cells seen", kills, len(chain), len(told))
}
