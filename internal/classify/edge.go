package classify

import (
	"bytes"
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

// NewEdge uses lists of Apple's egress addresses and of data centres; nil is no list.
func NewEdge(apple, dataCentre *Ranges) *Edge {
	return &Edge{apple: apple, dataCentre: dataCentre}
}

// maxHeader is how many bytes of a header are looked at. Real ones are a tenth of it.
const maxHeader = 1024

var bareMozilla = []byte("Mozilla/5.0")

// Signals says what a request tells of its sender: every signal but HiddenLink, which the link's
// registry knows, and the client's family. It does not allocate.
func (e *Edge) Signals(r Request) (event.Signals, event.Client) {
	s, client := agent(r.UserAgent)
	if announces(r.SecPurpose) || announces(r.Purpose) || announces(r.XMoz) || announces(r.XPurpose) {
		s |= event.Prefetch
	}
	if r.IP.IsValid() {
		if e.apple.Contains(r.IP) {
			s |= event.AppleEgress
		}
		if e.dataCentre.Contains(r.IP) {
			s |= event.DataCentre
		}
	}
	return s, client
}

func agent(ua []byte) (event.Signals, event.Client) {
	if len(ua) > maxHeader {
		ua = ua[:maxHeader]
	}
	ua = bytes.Trim(ua, " \t")
	switch {
	case len(ua) == 0:
		return event.NoAgent, event.OtherClient
	case bytes.Equal(ua, bareMozilla):
		// Whoever else says no more than that is a machine too; nearly all of it is Apple's.
		return event.BareMozilla, event.AppleMail
	}
	m := knownAgents.find(agents, ua)
	return signalsOf(m), clientOf(m)
}

// announces tells whether a header says that nobody has asked for this yet.
func announces(header []byte) bool {
	if len(header) == 0 {
		return false
	}
	return announcements.find(header[:min(len(header), maxHeader)]) != 0
}
