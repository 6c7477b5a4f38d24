// Package aggregate is the fold: events in, campaign-level counts out, each event exactly once.
// It checks consent a second time, classifies within a window of event time, and adds up what a
// Store then commits together with the position it was read up to.
package aggregate

import (
	"context"
	"errors"
	"time"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/classify"
)

// Cell is the key of a count: the finest grain that is kept.
type Cell struct {
	Campaign uint32
	Hour     uint32 // hours since the Unix epoch, UTC
	Link     uint16 // 0 for an open
	Kind     event.Kind
	Reason   event.Reason // Counted, or why the events of this cell are not
	Class    classify.Class
	Client   event.Client
}

// Count adds N events to a cell.
type Count struct {
	Cell
	N uint64
}

// UniqueKey names one distinct-count sketch.
type UniqueKey struct {
	Campaign uint32
	Link     uint16
	Kind     event.Kind
	Class    classify.Class
}

// Uniques are people to add to a sketch. The hashes are keyed per campaign (see HashKey): outside
// the campaign they mean nothing.
type Uniques struct {
	UniqueKey
	Hashes []uint64
}

// LastActive is the one thing kept of a person: the date of the last activity.
type LastActive struct {
	Subject uint64
	Day     uint32 // days since the Unix epoch, UTC
}

// EdgeMark says how far the events of one edge's epoch have been counted in a partition.
type EdgeMark struct {
	Edge  uint64
	Epoch uint64
	Next  uint64 // the first sequence number not counted yet
}

// Progress is how far a partition has been folded.
type Progress struct {
	// Offset is the first position that is not counted.
	Offset uint64
	// Context is where reading starts (at most Offset): events from there up to Offset are counted
	// already and are read again only because the classification of later ones looks back on them.
	Context uint64
	// Edges are the marks by which a repeated event is known.
	Edges []EdgeMark
}

// Commit is one atomic step of a partition from one offset to the next.
type Commit struct {
	Partition  uint32 // see PartitionOf
	Before     uint64 // the stored offset that this step starts from
	After      Progress
	Counts     []Count
	Uniques    []Uniques
	LastActive []LastActive
	// Until is up to when the commit may be applied, by the caller's monotonic clock; zero is for ever. Who
	// may be counted was known for certain until then.
	Until time.Time
}

// Late says that the time is over up to which the commit may be applied.
func (c *Commit) Late() bool { return late(c.Until) }

// ErrLate is returned by Store.Commit when Commit.Until is past. Nothing was counted by that call.
var ErrLate = errors.New("aggregate: the commit comes too late")

// ErrConflict is returned by Store.Commit when the stored offset is not Commit.Before: somebody
// else owns the partition, or the answer to an earlier try was lost. Nothing was counted. Read the
// progress back; it is the only authority.
var ErrConflict = errors.New("aggregate: stored offset differs from the commit's")

// Member says how a person who was sent a campaign can be measured; Counted means that the kind is.
// One pair holds for a mail. Who was minted for twice, with a choice in between, has two (see CountOnce).
type Member struct {
	Opens  event.Reason
	Clicks event.Reason
}

// Population is people who were sent a campaign, all of one kind of membership.
type Population struct {
	Campaign uint32
	Member   Member
	Hashes   []uint64 // keyed per campaign, as in Uniques
}

// Store keeps the aggregates. All methods may be called concurrently; commits of one partition are
// serialised by the compare-and-swap on its offset. A store copies what it keeps: the slices in
// its arguments stay the caller's and may be reused after the call.
type Store interface {
	// Progress reads a partition's progress; the zero Progress where nothing was committed yet. An error that is
	// ErrBroken is of a partition that nothing is counted from any more.
	Progress(ctx context.Context, partition uint32) (Progress, error)
	// Commit applies c wholly or not at all, durably; but for LastActive, which may be kept though the rest
	// is not: whoever counts the events writes the same days. It returns ErrConflict (wrapped or not) when
	// the stored offset is not c.Before. After any other error the outcome is unknown until
	// Progress was read. Where Commit.Until is set the store itself must refuse c from then on, also where the caller
	// sleeps before it sends it: ErrLate (wrapped or not). Nothing of c is kept by what comes from then on, LastActive neither.
	Commit(ctx context.Context, c *Commit) error
	// AddPopulation notes who was sent a campaign. Adding the same people again changes nothing.
	AddPopulation(ctx context.Context, p []Population) error
	Reader
	Activity
	Mails
	Advertising
	// Close releases the store. Nothing may be called afterwards.
	Close() error
}

// UniqueCount is distinct people of one kind on one link, or on the whole campaign.
type UniqueCount struct {
	Kind event.Kind
	Link uint16 // meaningful only where Whole is false
	// Whole marks the union over all links of the campaign.
	Whole bool
	// Human counts people with at least one event of class Human.
	Human uint64
	// People counts people with at least one event that is not Machine.
	People uint64
}

// PopulationCount is the number of distinct people who count under one kind of membership.
type PopulationCount struct {
	Member Member
	People uint64
}

// Summary is a campaign in few numbers. What they are summed over is zero in them.
type Summary struct {
	Campaign    uint32
	Totals      []Count       // over hours, links and clients
	Series      []Count       // what is Counted, over links, classes and clients
	Uniques     []UniqueCount // those that are Whole
	Populations []PopulationCount
}

// Reader answers the questions of reports, from aggregates alone.
type Reader interface {
	// Counts returns the cells of a campaign, each once, in no particular order.
	Counts(ctx context.Context, campaign uint32) ([]Count, error)
	// UniqueCounts returns the distinct counts of a campaign: one whole and one per link for each
	// kind that has any. Sketches: exact for small numbers, about 1 % beyond.
	UniqueCounts(ctx context.Context, campaign uint32) ([]UniqueCount, error)
	// Populations returns who was sent the campaign, by membership: everybody once, under the strictest
	// they were ever minted with (see CountOnce).
	Populations(ctx context.Context, campaign uint32) ([]PopulationCount, error)
	// Summaries returns the sums of several campaigns, each once, in no particular order; one of which nothing is stored may be
	// left out. Series has of each the given number of hours, from the first on in which anything was counted.
	Summaries(ctx context.Context, campaigns []uint32, hours uint32) ([]Summary, error)
}

// Activity answers when people were active last. Who never was is not in it.
type Activity interface {
	// Idle returns up to most people whose last day is before a day, ascending by subject, beginning after
	// a subject (0: with the first). Fewer than most is the end. The answer is the caller's.
	Idle(ctx context.Context, before uint32, after uint64, most int) ([]LastActive, error)
	// LastDays returns the last day of those of the subjects who have one, each once, in no particular order.
	LastDays(ctx context.Context, subjects []uint64) ([]LastActive, error)
}

// MaxMail is how long a campaign's mail may be, in bytes. Mail programs cut off what is longer than a fifth of it.
const MaxMail = 512 << 10

// Mails keeps each campaign's mail as it was designed, in HTML: what reports draw on. Nobody's own copy is kept.
type Mails interface {
	// PutMail keeps a campaign's mail, in place of the one before. Up to MaxMail bytes; an empty one says that there is none any more.
	PutMail(ctx context.Context, campaign uint32, html []byte) error
	// Mail is a campaign's mail, the caller's own; empty where none is kept.
	Mail(ctx context.Context, campaign uint32) (html []byte, err error)
}
