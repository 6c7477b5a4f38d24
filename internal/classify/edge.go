package classify

import (
	"net/netip"

	"mailbeacon/ingest/event"
)

// Request is what the edge looks at of a request. The slices stay the caller's: nothing of them is
// kept. A header that is not there is empty.
type Request struct {
	UserAgent  []byte
	SecPurpose []byte     // Sec-Purpose
	Purpose    []byte     // Purpose
	XMoz       []byte     // X-Moz
	XPurpose   []byte     // X-Purpose
	IP         netip.Addr // the zero Addr where it is not known
}

// Edge turns requests into signals. The zero Edge knows no address lists. It is read-only and may
// be used concurrently.
type Edge struct {
	apple      *Ranges
	dataCentre *Ranges
}

// NewEdge uses the given address lists; nil is no list.
func NewEdge(apple, dataCentre *Ranges) *Edge {
	return &Edge{apple: apple, dataCentre: dataCentre}
}

// Ranges is a set of addresses.
type Ranges struct{}

// Signals says what a request tells of its sender. It does not allocate, and looks at no more than
// the first 1024 bytes of a header.
func (e *Edge) Signals(r Request) (event.Signals, event.Client) {
	if len(r.UserAgent) == 0 {
		return event.NoAgent, event.OtherClient
	}
	return 0, event.OtherClient
}
