package event

import (
	"encoding/binary"
	"errors"
)

// Size is the length of an encoded event in bytes.
const Size = 32

const (
	offTime     = 0
	offSubject  = 8
	offCampaign = 16
	offLink     = 20
	offSignals  = 22
	offKind     = 24
	offReason   = 25
	offClient   = 26
	offReserved = 27

	// lastKind and allSignals close the sets that grow at their ends.
	lastKind   = Probe
	allSignals = HiddenLink<<1 - 1
)

// What can be wrong with a record. The errors are values of their own so that refusing one costs
// no allocation.
var (
	ErrShort      = errors.New("event: record is shorter than 32 bytes")
	ErrKind       = errors.New("event: unknown kind")
	ErrReason     = errors.New("event: unknown reason")
	ErrClient     = errors.New("event: unknown client")
	ErrSignals    = errors.New("event: unknown signal bit")
	ErrTime       = errors.New("event: time before 1970")
	ErrReserved   = errors.New("event: reserved bytes are not zero")
	ErrSuppressed = errors.New("event: suppressed event still holds a person, a link, a signal, a client or a minute, or more than a date")
)

// clean says whether a suppressed event holds no more than it may.
func (e *Event) clean() bool {
	step, signals := int64(hour), Signals(0)
	if e.Dated() {
		step = day
		if e.Kind == Click {
			signals = DateSignals
		}
	}
	return e.Link == 0 && e.Client == 0 && e.Signals&^signals == 0 && e.Time%step == 0 && (e.Subject == 0 || e.Dated())
}

// Check returns nil if e may be stored: every field is in its closed set, and an event with a
// Reason other than Counted holds no more than Suppress, or SuppressToDate, leaves. It does not allocate.
func (e *Event) Check() error {
	switch {
	case e.Kind < Open || e.Kind > lastKind:
		return ErrKind
	case e.Reason >= reasonCount:
		return ErrReason
	case e.Client >= clientCount:
		return ErrClient
	case e.Signals&^allSignals != 0:
		return ErrSignals
	case e.Time < 0:
		return ErrTime
	case e.Reason != Counted && !e.clean():
		return ErrSuppressed
	}
	return nil
}

// Put encodes e into the first Size bytes of b, which must be that long (it panics otherwise). What Check
// refuses is encoded all the same and refused by Parse.
func (e *Event) Put(b []byte) {
	b = b[:Size:Size]
	binary.LittleEndian.PutUint64(b[offTime:], uint64(e.Time))
	binary.LittleEndian.PutUint64(b[offSubject:], e.Subject)
	binary.LittleEndian.PutUint32(b[offCampaign:], e.Campaign)
	binary.LittleEndian.PutUint16(b[offLink:], e.Link)
	binary.LittleEndian.PutUint16(b[offSignals:], uint16(e.Signals))
	// The last eight bytes are kind, reason, client and five reserved zeros.
	binary.LittleEndian.PutUint64(b[offKind:], uint64(e.Kind)|uint64(e.Reason)<<8|uint64(e.Client)<<16)
}

// Parse decodes the first Size bytes of b. It is strict: what Check refuses, and non-zero reserved
// bytes, are errors, so that every record it accepts encodes to the same bytes again. It does not
// allocate.
func Parse(b []byte) (Event, error) {
	var e Event
	err := e.parse(b)
	return e, err
}

// parse is Parse in place: the reader's inner loop writes straight into the caller's buffer.
func (e *Event) parse(b []byte) error {
	if len(b) < Size {
		return ErrShort
	}
	b = b[:Size:Size]
	tail := binary.LittleEndian.Uint64(b[offKind:])
	e.Time = int64(binary.LittleEndian.Uint64(b[offTime:]))
	e.Subject = binary.LittleEndian.Uint64(b[offSubject:])
	e.Campaign = binary.LittleEndian.Uint32(b[offCampaign:])
	e.Link = binary.LittleEndian.Uint16(b[offLink:])
	e.Signals = Signals(binary.LittleEndian.Uint16(b[offSignals:]))
	e.Kind, e.Reason, e.Client = Kind(tail), Reason(tail>>8), Client(tail>>16)
	if tail>>(8*(offReserved-offKind)) != 0 {
		return ErrReserved
	}
	return e.Check()
}
