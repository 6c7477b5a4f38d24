package aggregate

import (
	"context"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
	"mailbeacon/internal/privacy"
)

// Clicked says that the people of a key clicked for sure. Of those a store keeps the hashes too, beside the sketch, whose
// estimate one person may change by more than one.
func (u UniqueKey) Clicked() bool { return u.Kind == event.Click && u.Class == classify.Human }

// Closing is one advertiser's epoch, closed: what was released of it. An advertiser's closings are a chain that only grows.
type Closing struct {
	Advertiser string
	Number     uint32 // 1, 2, 3 ... of the advertiser's
	// Start and End are the epoch, UTC, in whole seconds; At is when it was closed, likewise.
	Start, End, At time.Time
	Releases       []Release // by ascending campaign, each once
}

// Release is one cell: a number about the people who clicked an advertiser's links in a campaign, released once.
type Release struct {
	Campaign uint32
	Links    []uint16 // that the people were counted over, ascending
	// People is how many distinct people had clicked any of them by then, of all epochs: what the next release
	// of the campaign goes on from. It is exact, and never leaves the server.
	People uint64
	// Noised is how many of them are new since the release before, and noise drawn for Epsilon. It may be below zero.
	Noised  int64
	Epsilon privacy.Epsilon
}

// Advertising is what the reports for advertisers rest on. It may be called concurrently.
type Advertising interface {
	// Clickers is how many distinct people clicked any of the links of a campaign for sure (UniqueKey.Clicked), exactly, by
	// all commits that were acknowledged before.
	Clickers(ctx context.Context, campaign uint32, links []uint16) (uint64, error)
	// AddClosing appends a closing to its advertiser's chain, wholly or not at all, durably. It returns ErrConflict (wrapped or not) where the
	// chain's last number is not the one before c.Number: somebody else closed, and nothing of c was added. After any other error
	// the outcome is unknown until Closings was read.
	AddClosing(ctx context.Context, c *Closing) error
	// Closings returns an advertiser's chain from its beginning, and sees everything that was acknowledged before. It is the caller's.
	Closings(ctx context.Context, advertiser string) ([]Closing, error)
}
