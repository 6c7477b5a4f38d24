// Package control is the one ordered log of everything an edge must know: campaigns, links,
// deliveries, consent changes, key ids. Every role folds it into memory (Follower) and keeps a
// snapshot of the folded state, so that it starts and serves with every backend down.
package control

import (
	"context"
	"time"
)

// Position is a record's place in the log. The first record has position 1; 0 is before all.
type Position uint64

// Kind is what a record speaks of; each kind has one owner package, which defines its body.
type Kind string

const (
	KindCampaign Kind = "campaign" // owner: internal/campaign
	KindLink     Kind = "link"     // owner: internal/campaign
	KindDelivery Kind = "delivery" // owner: internal/campaign
	KindConsent  Kind = "consent"  // owner: internal/consent
)

// Record is what is appended.
type Record struct {
	Kind Kind
	// Key identifies what the record is the newest state of, unique within its kind. It never
	// holds an address: a person is a subject number.
	Key string
	// Time is when it was decided, UTC.
	Time time.Time
	// Body is the owner's JSON.
	Body []byte
}

// Entry is a record at its place.
type Entry struct {
	Position Position
	Record
}

// Log is an ordered, durable, append-only log. All methods may be called concurrently.
type Log interface {
	// Append adds the records in order, all or none, durably, and returns the position of the last.
	Append(ctx context.Context, records ...Record) (Position, error)
	// Read returns up to max entries after a position, in order; none at the end of the log.
	// The entries are the caller's.
	Read(ctx context.Context, after Position, max int) ([]Entry, error)
	// History returns every entry of a kind and key, oldest first.
	History(ctx context.Context, kind Kind, key string) ([]Entry, error)
	// Wait blocks until the log holds an entry after the position, or ctx ends (its error).
	Wait(ctx context.Context, after Position) error
	// Head is the position of the last entry, 0 for an empty log.
	Head(ctx context.Context) (Position, error)
	// Close releases the log; a Wait under way returns an error.
	Close() error
}

// Folder is a piece of state that is folded from the log. The Follower is its only writer: Apply,
// Snapshot and Restore are never called concurrently with each other. Readers of the state are
// the folder's own business.
type Folder interface {
	// Name is the folder's name in the snapshot file, a short word.
	Name() string
	// Apply folds one entry; kinds of other owners are to be ignored. It must be deterministic and
	// may not fail: a body that can't be read is ignored and reported by the returned error, which
	// the Follower counts and logs.
	Apply(Entry) error
	// Snapshot writes the state; the Follower adds framing, length and checksum.
	Snapshot() ([]byte, error)
	// Restore replaces the state by what Snapshot once wrote.
	Restore([]byte) error
}
