package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/kafka"
	"mailbeacon/ingest/spool"
	"mailbeacon/internal/config"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/datadir"
)

func newEdgeCommand(c *cli) *cobra.Command {
	return roleCommand(config.Edge, "Run an edge of a cluster: beacons and clicks, spooled here and shipped to Kafka",
		`Run an edge of a cluster: it answers beacons and clicks, writes each event to its own write-ahead log,
and ships it to Kafka. It serves with Kafka down, too, by what its snapshot knows, and ships later.`,
		"  mailbeacon edge --data /var/lib/mailbeacon-edge --kafka kafka://localhost:9092 --keyring /etc/mailbeacon/keyring.json",
		func(ctx context.Context, cfg *config.Config) error { return runEdge(ctx, c, cfg) })
}

// runEdge is the life of an edge: what it serves with needs no other machine, and what it ships
// waits in the spool until Kafka is there.
func runEdge(ctx context.Context, c *cli, cfg *config.Config) (err error) {
	began := time.Now()
	logger := newLogger(c.stderr, cfg)

	dir, err := openFolder(cfg.Data, config.Edge)
	if err != nil {
		return err
	}
	defer closing(&err, dir.Close)
	ring, err := openSharedKeys(cfg)
	if err != nil {
		return err
	}
	if err := sameKeyring(dir, ring, cfg.Keyring); err != nil {
		return err
	}
	brokers, err := newKafka(cfg, config.Edge)
	if err != nil {
		return err
	}
	defer closing(&err, brokers.Close)
	ship := &shipping{cfg: cfg, dir: dir, brokers: brokers, logger: logger}
	late := consent.NewLate(ship.mayShip, ship.bounds)
	state, err := followKafka(brokers, dir, cfg, late, logger)
	if err != nil {
		return err
	}
	defer closing(&err, state.close)
	// The spool may take all the rest of the disk, and what it ships must be noted all the same.
	if err := kafka.Reserve(dir.Path(cursorFile), dir.Path(topicFile)); err != nil {
		logger.Warn("events can't be shipped before the disk has room to note how far they were", "error", err)
	}
	voice := openEcho(brokers, cfg, config.Edge, state, logger)
	defer closing(&err, voice.close)
	shipped := kafka.Shipped(dir.Path(cursorFile))
	events, recovery, err := spool.Open(spool.Options{
		Dir: dir.Path(spoolFolder), SegmentBytes: cfg.SegmentBytes, Next: shipped, Known: shipped > 0, Logger: logger,
	})
	if err != nil {
		return adviseLost(err, dir.Root())
	}
	defer closing(&err, events.Close)
	if !recovery.Clean() {
		logger.Warn("the spool was recovered", "what", recovery.String())
	}

	public, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("setting listen: %w", err)
	}
	defer closeQuietly(public)
	private, err := listenPrivate(ctx, cfg, dir, logger)
	if err != nil {
		return err
	}
	defer closeQuietly(private)
	if err := leavePublic(dir, public.Addr(), logger); err != nil {
		return err
	}

	edge, err := newEdge(cfg, ring, state, events, ship.mayShip, nil, logger)
	if err != nil {
		return err
	}
	ship.began, ship.state, ship.voice, ship.late, ship.spool = shipped, state, voice, late, events
	metrics := newMetrics()
	edge.measure(metrics)
	measureSpool(metrics, events)
	state.measure(metrics)
	measureLease(metrics, state.follower)
	voice.measure(metrics)
	measureShipping(metrics, ship)
	status := serveStatus(metrics, func() []string { return edgeNotReady(state, events) })

	work := newParts(ctx, logger)
	work.Go("take up rotated keys", func(ctx context.Context) error { return watchKeys(ctx, dir, ring, cfg.Keyring, logger) })
	work.Go("follow the control log", state.follower.Run)
	voice.start(work)
	work.Go("ship", ship.run)
	work.Serve("the public side", func() error { return edge.serve(public) })
	work.Serve("the private side", func() error { return status.Serve(private) })
	logger.Info("ready", "role", config.Edge, "edge", public.Addr().String(), "private", private.Addr().String(), "took", time.Since(began).Round(time.Millisecond))

	work.Wait()
	logger.Info("stopping")
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.StopTimeout)
	defer cancel()
	err = edge.server.Shutdown(bound)
	ship.drain(bound)
	err = errors.Join(err, stopStatus(status, cfg), work.Stop())
	logger.Info("stopped", "events_left_in_the_spool", ship.left())
	return err
}

// edgeNotReady says why mail readers should not come here. Kafka is no reason: an edge without it
// serves, and ships later.
func edgeNotReady(state *state, events *spool.Spool) []string {
	var reasons []string
	if err := events.Healthy(); err != nil {
		reasons = append(reasons, fmt.Sprintf("the spool takes no events: %v", err))
	}
	if f := state.follower.Stats(); f.Applied == 0 && f.LastContact.IsZero() {
		reasons = append(reasons, "the control log was never read: no campaign and no choice is known")
	}
	return reasons
}

// shipping brings the spool to Kafka, from the moment on that Kafka is there.
type shipping struct {
	cfg     *config.Config
	dir     *datadir.Dir
	brokers *kafka.Client
	state   *state
	voice   *echo
	late    *consent.Late
	spool   *spool.Spool
	began   uint64 // how far was shipped at the start
	logger  *slog.Logger

	shipper atomic.Pointer[kafka.Shipper]
	mu      sync.Mutex
	err     error // why there is no shipper
	oldest  came  // while there is none
}

// came is when the event with a number came.
type came struct {
	number uint64
	at     time.Time
}

// run finds the topic, however long that takes, and ships until ctx ends. A topic that is not the one that
// it was is no reason to end: the edge serves, says what is wrong, and keeps its events.
func (s *shipping) run(ctx context.Context) error {
	for {
		shipper, err := s.open(ctx)
		if err == nil {
			s.fault(nil)
			s.shipper.Store(shipper)
			if err = shipper.Run(ctx); !errors.Is(err, aggregate.ErrBroken) {
				return err
			}
			s.shipper.Store(nil)
			err = adviseEdge(err, s.dir.Root())
		}
		if ctx.Err() == nil {
			s.fault(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func (s *shipping) open(ctx context.Context) (*kafka.Shipper, error) {
	topic, err := topicOf(ctx, s.brokers, s.cfg, eventsTopic(s.cfg, 0), s.brokers.Verify)
	if err != nil {
		return nil, err
	}
	if err := kafka.Remember(s.dir.Path(topicFile), topic); err != nil {
		return nil, adviseEdge(err, s.dir.Root())
	}
	grown, err := kafka.Grown(s.dir.Path(topicFile), topic)
	if err != nil {
		return nil, err
	}
	return kafka.NewShipper(kafka.ShipperOptions{
		Client: s.brokers, Topic: topic, Spool: kafka.OfSpool(s.spool), Cursor: s.dir.Path(cursorFile), Grown: grown,
		Consent: s.state.consent, Campaigns: s.state.campaigns, Fresh: s.mayShip, Late: s.late.Reason,
		Compression: kafka.Compression(s.cfg.Compress), StopTimeout: s.cfg.StopTimeout, Logger: s.logger,
	})
}

// mayShip says whether what is known of consent may be used for what was recorded before.
func (s *shipping) mayShip() bool { return s.voice.here.Open() }

// bounds are how far events are shipped, so that they are never shipped again as others than they were, and recorded. What is
// acknowledged and not saved may be shipped again, and to a topic that knows nothing of the first time.
func (s *shipping) bounds() (shipped, next uint64) {
	st := s.spool.Stats()
	shipped = max(s.began, st.First)
	if shipper := s.shipper.Load(); shipper != nil {
		shipped = max(shipped, shipper.Stats().Saved)
	}
	return shipped, st.Next
}

// fault notes why nothing can be shipped yet, and says so once for each cause.
func (s *shipping) fault(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && (s.err == nil || s.err.Error() != err.Error()) {
		s.logger.Error("nothing is shipped; events wait in the spool", "error", err)
	}
	s.err = err
}

// stats are the shipper's, or why there is none.
func (s *shipping) stats() kafka.ShipperStats {
	if shipper := s.shipper.Load(); shipper != nil {
		return shipper.Stats()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return kafka.ShipperStats{Next: kafka.Shipped(s.dir.Path(cursorFile)), Err: s.err}
}

// left is how many events are in the spool and not known to be in Kafka.
func (s *shipping) left() uint64 {
	next, shipped := s.spool.Stats().Next, s.stats().Next
	if next < shipped {
		return 0
	}
	return next - shipped
}

// oldestAge is how old the oldest event is that is not known to be in Kafka, 0 where there is none.
func (s *shipping) oldestAge() time.Duration {
	if s.left() == 0 {
		return 0
	}
	at := s.stats().Oldest
	if at.IsZero() {
		at = s.oldestInSpool()
	}
	if at.IsZero() { // it is acknowledged by now, or only just there
		return 0
	}
	return max(time.Since(at), 0)
}

// oldestInSpool is when the oldest event came, where there is no shipper that knows. It reads the spool once for each.
func (s *shipping) oldestInSpool() time.Time {
	if s.shipper.Load() != nil {
		return time.Time{}
	}
	next := s.stats().Next
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.oldest.number != next || s.oldest.at.IsZero() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.oldest = came{next, kafka.OldestAt(ctx, kafka.OfSpool(s.spool), max(next, s.spool.Stats().First))}
	}
	return s.oldest.at
}

// drain waits until everything is shipped, as long as that works, or ctx ends.
func (s *shipping) drain(ctx context.Context) {
	for s.left() > 0 && s.stats().Err == nil && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}
