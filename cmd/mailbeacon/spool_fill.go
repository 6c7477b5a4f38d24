package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"mailbeacon/ingest/event"
	"mailbeacon/ingest/spool"
)

// filling says what a spool is filled with.
type filling struct {
	events        uint64
	campaign      uint32 // the first
	campaigns     uint32
	links, people int
	segment       int64
}

// newSpoolFillCommand writes events without requests, to see how the rest takes them. It is hidden:
// what it writes was never seen by anybody.
func newSpoolFillCommand(c *cli) *cobra.Command {
	var f filling
	cmd := &cobra.Command{
		Use: "fill DIR", Hidden: true, Args: cobra.ExactArgs(1),
		Short: "Write made-up events into a spool that was never used, for load tests",
		Long: `Write made-up events into a spool that was never used, for load tests. The spool is the folder "spool" of a data
folder, which serve or an edge makes: start it once (for the example, mailbeacon edge --data edge ...) and stop it,
fill its spool, and start it again.`,
		Example: "  mailbeacon spool fill edge/spool --events 50000000 --campaign 472214 --campaigns 1000",
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := os.Stat(args[0]); errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("there is no folder %s: start what the spool is to belong to once, mailbeacon edge or serve, and stop it. It refuses a folder that it did not make", args[0])
			}
			if f.campaign == 0 || f.campaigns == 0 || f.people < 1 || f.links < 1 {
				return usage(errors.New("--campaign, --campaigns, --people and --links must be at least 1"))
			}
			began := time.Now()
			if err := f.write(args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.stdout, "%d events in %v\n", f.events, time.Since(began).Round(time.Millisecond))
			return err
		},
	}
	fs := cmd.Flags()
	fs.Uint64Var(&f.events, "events", 1_000_000, "how many")
	fs.Uint32Var(&f.campaign, "campaign", 0, "number of the first campaign")
	fs.Uint32Var(&f.campaigns, "campaigns", 1, "how many campaigns, with numbers in a row")
	fs.IntVar(&f.links, "links", 5, "links of a campaign")
	fs.IntVar(&f.people, "people", 1_000_000, "different people")
	fs.Int64Var(&f.segment, "segment-bytes", 256<<20, "size of a segment")
	return cmd
}

// write appends by many at once: a commit takes what all of them have.
func (f *filling) write(dir string) (err error) {
	s, recovery, err := spool.Open(spool.Options{Dir: dir, SegmentBytes: f.segment})
	if err != nil {
		return err
	}
	defer closing(&err, s.Close)
	if recovery.Next > recovery.First || recovery.First > 1 {
		return fmt.Errorf("the spool in %s was used already: %d events came before", dir, recovery.Next-1)
	}
	const writers = 4096
	var next atomic.Uint64
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	start := time.Now().Add(-time.Hour - 10*time.Minute) // the longest window that can be set
	for w := range writers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(w)))
			for n := next.Add(1); n <= f.events && failed.Load() == nil; n = next.Add(1) {
				ev := f.event(rnd, start, n)
				if err := s.Append(&ev); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// event is one of four opens to a click, a tenth of the opens prefetched, spread over an hour that ended so
// long ago that nothing need wait for its classification.
func (f *filling) event(rnd *rand.Rand, start time.Time, n uint64) event.Event {
	ev := event.Event{
		Time:     start.Add(time.Duration(float64(n) / float64(f.events) * float64(time.Hour))).UnixMilli(),
		Subject:  0x9e3779b97f4a7c15 * (1 + rnd.Uint64N(uint64(f.people))),
		Campaign: f.campaign + rnd.Uint32N(f.campaigns),
		Kind:     event.Open,
		Client:   event.Client(rnd.IntN(6)),
	}
	switch {
	case rnd.IntN(5) == 0:
		ev.Kind, ev.Link = event.Click, 1+uint16(rnd.IntN(f.links))
	case rnd.IntN(10) == 0:
		ev.Signals = event.BareMozilla | event.AppleEgress
	case rnd.IntN(3) == 0:
		ev.Signals = event.GoogleProxy
	}
	return ev
}
