package advertiser

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mailbeacon/ingest/aggregate"
)

// rivals is how often a closing is tried anew because another process closed meanwhile.
const rivals = 8

// Run closes epochs as they end, until ctx ends; then it returns nil. What fails is said once and tried again.
func (r *Reports) Run(ctx context.Context) error {
	tick := time.NewTicker(min(time.Minute, max(r.o.Epoch/20, 50*time.Millisecond)))
	defer tick.Stop()
	for {
		r.round(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (r *Reports) round(ctx context.Context) {
	err := r.Close(ctx)
	if ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.stats.Faulty
	r.stats.Faulty = err != nil
	switch {
	case err != nil:
		if r.stats.Failed++; !was {
			r.o.Logger.Error("an epoch can't be closed for advertisers; trying again", "error", err)
		}
	case was:
		r.o.Logger.Info("epochs are closed for advertisers again")
	}
}

// Close closes the last epoch that ended, for every advertiser for whom nobody did yet. One that was missed, since nobody ran, falls into
// it. An error is of those that could not be closed; the others are.
func (r *Reports) Close(ctx context.Context) error {
	due := dueAt(r.o.now(), r.o.Epoch)
	var errs []error
	for _, a := range r.o.Campaigns.Advertisers() {
		if !r.closed[a.Name].Before(due.End) {
			continue
		}
		if err := r.closeFor(ctx, a.Name, due); err != nil {
			errs = append(errs, fmt.Errorf("close the epoch up to %s for advertiser %q: %w", due.End.Format(time.RFC3339), a.Name, err))
			if ctx.Err() != nil {
				break
			}
			continue
		}
		r.closed[a.Name] = due.End
	}
	return errors.Join(errs...)
}

// closeFor closes an advertiser's epoch, unless it, or a later one, is closed: a clock that went back opens nothing again.
func (r *Reports) closeFor(ctx context.Context, name string, due Epoch) error {
	for range rivals {
		chain, err := r.o.Store.Closings(ctx, name)
		if err != nil {
			return err
		}
		s := standingOf(chain)
		if !s.end.Before(due.End) {
			if s.end.Sub(due.End) > 2*r.o.Epoch { // more than admins may differ by
				return fmt.Errorf("all up to %s is closed already: this machine's clock is wrong, or that of who closed it was; until then nothing is released", s.end.Format(time.RFC3339))
			}
			return nil
		}
		c, err := r.draw(ctx, name, due, s)
		if err != nil {
			return err
		}
		err = r.o.Store.AddClosing(ctx, c)
		if errors.Is(err, aggregate.ErrConflict) { // what was drawn here was never told to anybody
			continue
		}
		if err != nil {
			return err
		}
		r.o.Logger.Info("closed an epoch for an advertiser", "advertiser", name, "up_to", due.End.Format(time.RFC3339), "released", len(c.Releases))
		r.mu.Lock()
		r.stats.Closed++
		r.stats.Released += uint64(len(c.Releases))
		r.mu.Unlock()
		return nil
	}
	return errors.New("others close it at the same time, again and again")
}

// draw makes the closing that goes on from where a chain stands.
func (r *Reports) draw(ctx context.Context, name string, due Epoch, s *standing) (*aggregate.Closing, error) {
	c := &aggregate.Closing{Advertiser: name, Number: s.number + 1, Start: due.Start, End: due.End, At: r.o.now().UTC().Truncate(time.Second)}
	for _, a := range r.o.Campaigns.AdvertisedBy(name) {
		if !a.Campaign.Created.Before(due.End) || r.state(&a, s, due.year()) != Counting {
			continue
		}
		number := a.Campaign.Number
		people, err := r.o.Store.Clickers(ctx, number, a.Links)
		if err != nil {
			return nil, err
		}
		noise, err := r.noise.Laplace(r.o.Epsilon)
		if err != nil {
			return nil, err
		}
		before := uint64(0)
		if of := s.cells[number]; of != nil {
			before = of.people
		}
		// The sum only grows, but for what is erased: a person more or less changes this by one, and that in one cell only.
		fresh := people - min(people, before)
		c.Releases = append(c.Releases, aggregate.Release{
			Campaign: number, Links: a.Links, People: max(people, before), Noised: int64(fresh) + noise, Epsilon: r.o.Epsilon,
		})
		s.charge(due.year(), r.o.Epsilon)
	}
	return c, nil
}
