package consent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"mailbeacon/internal/control"
)

const (
	copyBatch = 512
	// copySubjects bounds the people of one step.
	copySubjects = 64 << 10
	copyPause    = time.Second
	// copyQuiet is how long a log without news is not asked.
	copyQuiet = 5 * time.Second
)

// Copier copies the consent records of a log into an archive: before a compacted log drops an old state,
// it stands in the archive. Any number of them may run: each step begins at the archive's end and is one
// atomic addition, so the archive never has a gap, and what two of them add stands there once.
type Copier struct {
	log     control.Log
	archive Archive
	logger  *slog.Logger
	copied  atomic.Uint64
	failing atomic.Bool
}

// NewCopier makes a copier. A nil logger is silent.
func NewCopier(log control.Log, archive Archive, logger *slog.Logger) *Copier {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Copier{log: log, archive: archive, logger: logger}
}

// Run copies until ctx ends, and then returns nil. What fails is tried again, and said once.
func (c *Copier) Run(ctx context.Context) error {
	for {
		err := c.copyOn(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the end was asked for
		case errors.Is(err, control.ErrClosed):
			return fmt.Errorf("copy the consent ledger: %w", err)
		}
		if !c.failing.Swap(true) {
			c.logger.Error("consent changes are not copied into the ledger; trying again, the control log keeps them meanwhile", "position", c.copied.Load(), "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(copyPause):
		}
	}
}

// copyOn copies from the archive's end on until something fails.
func (c *Copier) copyOn(ctx context.Context) error {
	at, err := c.archive.End(ctx)
	if err != nil {
		return err
	}
	head, err := c.log.Head(ctx)
	if err != nil {
		return err
	}
	if head < at {
		return fmt.Errorf("the ledger ends at position %d, the control log at %d: the log was replaced or lost its end; put its own back, or give the new one another database", at, head)
	}
	for {
		next, err := c.step(ctx, at)
		if err != nil {
			return err
		}
		if c.failing.Swap(false) {
			c.logger.Info("consent changes are copied into the ledger again")
		}
		c.copied.Store(uint64(next))
		if next > at {
			at = next
			continue
		}
		if err := c.wait(ctx, at); err != nil {
			return err
		}
	}
}

func (c *Copier) wait(ctx context.Context, at control.Position) error {
	begin := time.Now()
	quiet, cancel := context.WithTimeout(ctx, copyQuiet)
	defer cancel()
	if err := c.log.Wait(quiet, at); time.Since(begin) < copyQuiet*9/10 {
		return err
	}
	return ctx.Err()
}

// step copies some entries after a position, and returns how far it came.
func (c *Copier) step(ctx context.Context, at control.Position) (control.Position, error) {
	entries, err := c.log.Read(ctx, at, copyBatch)
	if err != nil {
		return at, err
	}
	var add []control.Entry
	var subjects [][]uint64
	people := 0
	for i := range entries {
		e := &entries[i]
		if e.Kind == control.KindConsent {
			some := subjectsOf(e)
			if people += len(some); people > copySubjects && len(add) > 0 {
				break
			}
			add, subjects = append(add, *e), append(subjects, some)
		}
		at = e.Position
	}
	if len(add) == 0 {
		return at, nil
	}
	return at, c.archive.Add(ctx, add, subjects)
}

// subjectsOf are the people that an entry speaks of.
func subjectsOf(e *control.Entry) (all []uint64) {
	if !isBulk(e.Key) {
		if c, _ := parse(e); c.Subject != 0 { // what can't be read was reported by the fold
			all = append(all, c.Subject)
		}
		return all
	}
	_ = parseBulk(e, func(c *Change) { all = append(all, c.Subject) }) // as above
	return all
}

// CopyStats is what a Copier can tell of itself.
type CopyStats struct {
	Copied  control.Position // what stands in the archive
	Failing bool             // the last step failed
}

// Stats tells how copying is doing. It may be called concurrently.
func (c *Copier) Stats() CopyStats {
	return CopyStats{Copied: control.Position(c.copied.Load()), Failing: c.failing.Load()}
}
