// Package control is the one ordered log of everything an edge must know: campaigns, links,
// deliveries, consent changes, key ids. Every role folds it into memory (Follower) and keeps a
// snapshot of the folded state, so that it starts and serves with every backend down.
//
// In a cluster, admins write heartbeats into the log (Beat), and a follower takes what it folded for
// all there is only as long as they prove it (Follower.Fresh): a broker that was cut off from its
// cluster answers, too.
package control

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
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
	// Time is when it was decided, UTC. A log keeps it to the millisecond.
	Time time.Time
	// Body is the owner's JSON.
	Body []byte
}

// Entry is a record at its place.
type Entry struct {
	Position Position
	Record
}

// Limits of one record. A log refuses what exceeds them with an *InvalidError.
const (
	MaxBody = 256 << 10 // bytes
	MaxKey  = 512       // bytes
	MaxKind = 32        // bytes
)

// ErrClosed is what every method of a closed log returns, wrapped.
var ErrClosed = errors.New("control log is closed")

// InvalidError names the field of a request or a record that can't be kept, and why. It never
// holds the value: that may be somebody's address.
type InvalidError struct {
	Field  string // as in the API: "url", "name", ...
	Reason string // to be read after the field's name: "is longer than 300 bytes"
}

func (e *InvalidError) Error() string { return e.Field + " " + e.Reason }

// Check says with an *InvalidError why a log would refuse r; nil if it would not.
func (r *Record) Check() error {
	switch {
	case r.Kind == "":
		return &InvalidError{"kind", "is empty"}
	case len(r.Kind) > MaxKind:
		return &InvalidError{"kind", fmt.Sprintf("is longer than %d bytes", MaxKind)}
	case r.Key == "":
		return &InvalidError{"key", "is empty"}
	case len(r.Key) > MaxKey:
		return &InvalidError{"key", fmt.Sprintf("is longer than %d bytes", MaxKey)}
	case !utf8.ValidString(string(r.Kind)):
		return &InvalidError{"kind", "is not UTF-8"}
	case !utf8.ValidString(r.Key):
		return &InvalidError{"key", "is not UTF-8"}
	case len(r.Body) > MaxBody:
		return &InvalidError{"body", fmt.Sprintf("is longer than %d bytes", MaxBody)}
	}
	return nil
}

// CheckAll checks what is to be appended in one step.
func CheckAll(records []Record) error {
	if len(records) == 0 {
		return &InvalidError{"records", "are none"}
	}
	for i := range records {
		if err := records[i].Check(); err != nil {
			return fmt.Errorf("control record %d of %d: %w", i+1, len(records), err)
		}
	}
	return nil
}

// Log is an ordered, durable, append-only log. All methods may be called concurrently.
type Log interface {
	// Append adds the records in order, all or none, durably, and returns the position of the last.
	// Their positions follow each other without a gap. The records and their bodies stay the
	// caller's. After an error that is neither *InvalidError nor ErrClosed the outcome is unknown:
	// the records may stand in the log.
	Append(ctx context.Context, records ...Record) (Position, error)
	// Read returns up to max entries after a position, in order; none at the end of the log.
	// The entries are the caller's. Positions may have gaps (a compacted log), never repeat.
	Read(ctx context.Context, after Position, max int) ([]Entry, error)
	// History returns every entry of a kind and key, oldest first.
	History(ctx context.Context, kind Kind, key string) ([]Entry, error)
	// Wait blocks until the log holds an entry after the position, or ctx ends (its error).
	Wait(ctx context.Context, after Position) error
	// Head is the position of the last entry, 0 for an empty log.
	Head(ctx context.Context) (Position, error)
	// Close releases the log; a Wait under way returns an error. Closing again changes nothing.
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
	// Restore replaces the state by what Snapshot once wrote; without any bytes, by the empty state.
	// The bytes stay the caller's: the folder copies what it keeps. After an error the state is
	// undefined until the next Restore.
	Restore([]byte) error
}
