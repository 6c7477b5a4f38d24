package advertiser

import "time"

// Week is the usual length of an epoch; epochs of it begin on Mondays at 00:00 UTC.
const Week = 7 * 24 * time.Hour

// origin is a Monday.
var origin = time.Date(1970, 1, 5, 0, 0, 0, 0, time.UTC)

// Epoch is a time of which numbers are released together: from Start up to, and not with, End.
type Epoch struct{ Start, End time.Time }

// epochOf is the epoch that a moment is in.
func epochOf(t time.Time, length time.Duration) Epoch {
	since := t.Sub(origin) % length
	if since < 0 {
		since += length
	}
	start := t.Add(-since).UTC()
	return Epoch{start, start.Add(length)}
}

// dueAt is the epoch that is to be closed at a moment: the last one that ended a grace ago at least.
func dueAt(t time.Time, length time.Duration) Epoch {
	end := epochOf(t.Add(-graceOf(length)), length).Start
	return Epoch{end.Add(-length), end}
}

// graceOf is how long what was clicked in an epoch has to be counted. What comes later is of the next one.
func graceOf(length time.Duration) time.Duration { return min(time.Hour, length/10) }

// year is the calendar year that an epoch's releases are charged to: that of its last moment.
func (e Epoch) year() int { return e.End.Add(-time.Second).Year() }
