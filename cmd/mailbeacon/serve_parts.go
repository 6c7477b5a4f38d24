package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mailbeacon/ingest/aggregate"
	"mailbeacon/ingest/spool"
	"mailbeacon/ingest/sqlite"
	"mailbeacon/internal/api"
	"mailbeacon/internal/campaign"
	"mailbeacon/internal/classify"
	"mailbeacon/internal/config"
	"mailbeacon/internal/consent"
	"mailbeacon/internal/control"
	"mailbeacon/internal/datadir"
	"mailbeacon/internal/edge"
	"mailbeacon/internal/intake"
	"mailbeacon/internal/preferences"
	"mailbeacon/internal/token"
	"mailbeacon/internal/web"
	"mailbeacon/pixel"
	"mailbeacon/redirect"
)

// keys are the secrets: what tokens are made with, and who may use the API.
type keys struct {
	ring *token.Ring
	api  *api.Keys
}

func openKeys(dir *datadir.Dir, logger *slog.Logger) (*keys, error) {
	path := dir.Path(keyringFile)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		if _, err := token.CreateKeyring(path); err != nil {
			return nil, fmt.Errorf("make the keyring: %w", err)
		}
	}
	ring, err := token.OpenRing(path)
	if err != nil {
		return nil, err
	}
	if _, err := api.EnsureAdminKey(dir.Root()); err != nil {
		return nil, err
	}
	admin, err := api.LoadKeys(dir.Root(), logger)
	if err != nil {
		return nil, err
	}
	if err := web.Examine(dir.Root()); err != nil {
		return nil, err // before anything in the folder changes
	}
	return &keys{ring, admin}, nil
}

// watchKeys takes up a keyring that `mailbeacon keyring rotate` changed, and notes that in the data folder.
func watchKeys(ctx context.Context, dir *datadir.Dir, ring *token.Ring, path string, logger *slog.Logger) error {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			changed, err := ring.Refresh()
			if err != nil {
				logger.Error("the changed keyring can't be used; the former one stays", "error", err)
			} else if changed {
				logger.Info("took up a changed keyring")
				if err := sameKeyring(dir, ring, path); err != nil {
					logger.Error("the keyring that was taken up is not the one that it should be", "error", err)
				}
			}
		}
	}
}

// state is what the control log says: campaigns, links, consent.
type state struct {
	log            control.Log
	follower       *control.Follower
	campaigns      *campaign.Registry
	campaignWriter *campaign.Writer
	consent        *consent.Table
	consentWriter  *consent.Writer
}

// openState folds the control log up to its end: nothing is served by what was agreed last week.
func openState(ctx context.Context, dir *datadir.Dir, cfg *config.Config, logger *slog.Logger) (*state, error) {
	log, err := sqlite.OpenControl(ctx, dir.Path(controlFile))
	if err != nil {
		return nil, err
	}
	s, err := follow(log, dir, cfg, nil, logger)
	if err == nil {
		err = s.follower.CatchUp(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("fold the control log: %w", err), log.Close())
	}
	return s, nil
}

// follow restores what the snapshot says of the control log; nothing is read of the log yet.
func follow(log control.Log, dir *datadir.Dir, cfg *config.Config, late *consent.Late, logger *slog.Logger) (*state, error) {
	s := &state{log: log, campaigns: campaign.NewRegistry(), consent: consent.NewTable(cfg.Basis)}
	var err error
	o := control.FollowerOptions{
		Log: log, Folders: []control.Folder{s.campaigns, s.consent}, Snapshot: dir.Path(snapshotFile), Logger: logger,
	}
	if late != nil {
		o.Before, o.After, o.Hold = late.Note, late.Folded, late.Holding
	}
	s.follower, err = control.OpenFollower(o)
	if err != nil {
		return nil, err
	}
	s.campaignWriter = campaign.NewWriter(log, s.follower, s.campaigns)
	s.consentWriter = consent.NewWriter(log, s.follower, s.consent)
	return s, nil
}

// stale is why what is known here is not taken for all there is, and what that means.
func (s *state) stale(why, so string) string {
	if s.follower.Stats().LogFailing {
		why = "the control log can't be read"
	}
	return why + ": " + so + ", since nobody knows who refused meanwhile"
}

func (s *state) close() error {
	return errors.Join(s.follower.Close(), s.log.Close())
}

func (s *state) measure(reg *prometheus.Registry) { measureControl(reg, s.follower) }

// events are what came in and what it adds up to.
type events struct {
	counts   *sqlite.Counts
	spool    *spool.Spool
	recovery spool.Recovery
}

func openEvents(ctx context.Context, dir *datadir.Dir, cfg *config.Config, known *state, logger *slog.Logger) (*events, error) {
	counts, err := sqlite.OpenCounts(ctx, dir.Path(countsFile))
	if err != nil {
		return nil, err
	}
	if err := sameLife(ctx, known.log, counts); err != nil {
		return nil, errors.Join(err, counts.Close())
	}
	progress, err := counts.Progress(ctx, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read how far counting is: %w", err), counts.Close())
	}
	e := &events{counts: counts}
	e.spool, e.recovery, err = spool.Open(spool.Options{
		Dir: dir.Path(spoolFolder), SegmentBytes: cfg.SegmentBytes, Next: progress.Offset, Known: knowsSpool(progress), Logger: logger,
	})
	if err != nil {
		return nil, errors.Join(adviseLost(err, dir.Root()), counts.Close())
	}
	if knowsSpool(progress) {
		return e, nil
	}
	if err := noteSpool(ctx, counts, e.spool); err != nil {
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

// sameLife refuses a control log that is older than what was counted: it would give numbers out
// again that stand in mail, and has forgotten refusals.
func sameLife(ctx context.Context, log control.Log, counts *sqlite.Counts) error {
	mark, err := counts.ControlMark(ctx)
	if err != nil {
		return err
	}
	head, err := log.Head(ctx)
	if err != nil {
		return err
	}
	if head < mark {
		return fmt.Errorf("%s is from an earlier time than %s: it ends at position %d, and went up to %d at least. "+
			"What it lacks are campaigns, links and refusals. Put the newer one back", controlFile, countsFile, head, mark)
	}
	return nil
}

// markControl keeps noting in the counts how far the control log goes.
func markControl(known *state, counts *sqlite.Counts, logger *slog.Logger) func(context.Context) error {
	return func(ctx context.Context) error {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		var marked control.Position
		note := func() {
			at := known.follower.Applied()
			if at == marked {
				return
			}
			if err := counts.MarkControl(context.WithoutCancel(ctx), at); err != nil {
				logger.Warn("the counts do not know how far the control log goes", "error", err)
				return
			}
			marked = at
		}
		for {
			note()
			select {
			case <-ctx.Done():
				note()
				return nil
			case <-tick.C:
			}
		}
	}
}

func (e *events) close() error { return errors.Join(e.spool.Close(), e.counts.Close()) }

func (e *events) measure(reg *prometheus.Registry) { measureSpool(reg, e.spool) }

// left is how many events wait in the spool to be counted.
func (e *events) left(f *fold) uint64 {
	next, counted := e.spool.Stats().Next, f.runner.Stats().Offset
	if next < counted {
		return 0
	}
	return next - counted
}

// publicSide is what mail readers reach.
type publicSide struct {
	server      *edge.Server
	intake      *intake.Intake
	preferences *preferences.Handler
}

// redirectWait bounds how long a click waits for a link that is not known here yet; the registry's
// own bound is shorter.
const redirectWait = time.Second

// receiptsOf is the key that receipts are signed with, as the keys rotate.
func receiptsOf(ring *token.Ring) func() (uint8, func([]byte) []byte) {
	return func() (uint8, func([]byte) []byte) { return ring.Keyring().ReceiptSigner() }
}

// newEdge makes the public side. leave says whether what is known of consent may be used for what was asked before, nil:
// always; clock when a request from an address happens, nil: when it comes.
func newEdge(cfg *config.Config, ring *token.Ring, state *state, sp *spool.Spool, leave func() bool, clock func(from netip.Addr) time.Time, logger *slog.Logger) (*publicSide, error) {
	classifier, err := newClassifier(cfg)
	if err != nil {
		return nil, err
	}
	proxies, err := intake.NewProxies(cfg.TrustedProxies, intake.XForwardedFor)
	if err != nil {
		return nil, err
	}
	p := &publicSide{}
	p.intake, err = intake.New(intake.Options{
		Tokens: ring, Consent: state.consent, Campaigns: state.campaigns, Classifier: classifier, Spool: sp, Proxies: proxies, Leave: leave, Clock: clock,
	})
	if err != nil {
		return nil, err
	}
	pages, err := preferences.LoadPages(cfg.PreferencePage)
	if err != nil {
		return nil, fmt.Errorf("setting preference-page: %w", err)
	}
	p.preferences, err = preferences.New(preferences.Options{
		Tokens: ring, Choices: state.consent, Writer: state.consentWriter.As("page"), Pages: pages,
		Receipts: receiptsOf(ring),
	})
	if err != nil {
		return nil, err
	}
	beacon := pixel.New(p.intake)
	p.server, err = edge.New(edge.Options{
		Pixel: beacon, Plain: beacon, Redirect: redirect.New(p.intake, state.campaigns, redirectWait), Preferences: p.preferences, NotFound: pages.NotFound,
		Limits:  edge.Limits{Conns: cfg.MaxConns, ConnsPerAddress: cfg.MaxConnsPerIP},
		Trusted: proxies.Trusts, Logger: logger,
	})
	return p, err
}

// serve answers until Shutdown, which may come before it began.
func (p *publicSide) serve(ln net.Listener) error {
	if err := p.server.Serve(ln); !errors.Is(err, edge.ErrStopped) {
		return err
	}
	return nil
}

func (p *publicSide) measure(reg *prometheus.Registry) {
	measureEdge(reg, p.server)
	measureIntake(reg, p.intake)
	measurePreferences(reg, p.preferences)
}

func newClassifier(cfg *config.Config) (*classify.Edge, error) {
	var apple, dataCentres *classify.Ranges
	var err error
	if cfg.AppleEgress != "" {
		if apple, err = classify.LoadEgress(cfg.AppleEgress); err != nil {
			return nil, fmt.Errorf("setting apple-egress: %w", err)
		}
	}
	if cfg.DataCentres != "" {
		if dataCentres, err = classify.LoadNetworks(cfg.DataCentres); err != nil {
			return nil, fmt.Errorf("setting data-centres: %w", err)
		}
	}
	return classify.NewEdge(apple, dataCentres), nil
}

// fold is what counts.
type fold struct{ runner *aggregate.Runner }

// foldOptions are those of folds that share room.
func foldOptions(cfg *config.Config, state *state, room *aggregate.Room) aggregate.FoldOptions {
	o := aggregate.FoldOptions{Consent: state.consent, Campaigns: state.campaigns, Window: cfg.ClassifyWindow, Room: room, MaxHeld: math.MaxInt}
	if cfg.ClassifyWindow == 0 {
		o.Window, o.Judge, o.JudgeDate = time.Millisecond, judgeAlone, judgeAlone
	}
	return o
}

// roomOf is how many events may be held for their class.
func roomOf(cfg *config.Config) *aggregate.Room {
	return aggregate.NewRoom(cfg.HeldBytes / aggregate.HeldBytes)
}

func newFold(cfg *config.Config, state *state, events *events, logger *slog.Logger) (*fold, error) {
	id, epoch := events.spool.Identity()
	runner, err := aggregate.NewRunner(aggregate.RunnerOptions{
		Source: aggregate.SpoolSource{
			Edge: id, Epoch: epoch, Trimmer: events.spool.Trim,
			Reader: func(from uint64) (aggregate.SpoolReader, error) { return events.spool.Reader(from) },
		},
		Store: events.counts, Fold: foldOptions(cfg, state, roomOf(cfg)), Interval: cfg.CommitInterval, StopTimeout: cfg.StopTimeout, Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	return &fold{runner}, nil
}

// judgeAlone classifies an event without its neighbours.
func judgeAlone(target int, all []classify.Sighting, _ int) classify.Class {
	return classify.ClassOf(all[target].Kind, all[target].Signals)
}

func (f *fold) measure(reg *prometheus.Registry) { measureFold(reg, f.runner) }

// foldPatience is how long counting may stand still before it keeps traffic away: events are safe in
// the spool meanwhile, but a disk fills.
const foldPatience = 10 * time.Second

// serveNotReady says why no traffic should come here.
func serveNotReady(state *state, events *events, fold *fold) []string {
	var reasons []string
	if err := events.spool.Healthy(); err != nil {
		reasons = append(reasons, fmt.Sprintf("the spool takes no events: %v", err))
	}
	if state.follower.Stats().LogFailing {
		reasons = append(reasons, "the control log can't be read")
	}
	if since, err := fold.runner.Stuck(foldPatience); err != nil {
		reasons = append(reasons, fmt.Sprintf("nothing is counted since %s: %v", since.UTC().Format(time.RFC3339), err))
	}
	return reasons
}
