// Package event is what the edge knows of one open or click once the request is forgotten:
// a fixed-size record without address, IP or User-Agent, and the frame that carries such records
// over disk and network. FORMAT.md beside this file is the specification of both.
package event

// Kind tells what happened. The numbers are part of the format.
type Kind uint8

const (
	// Open is a beacon that was loaded.
	Open Kind = 1
	// Click is a redirect that was followed.
	Click Kind = 2
	// Probe is a HEAD request for a beacon or a redirect. It is never counted as either; it marks
	// what the same message does around that time as scanned.
	Probe Kind = 3
)

// Reason says why something was not counted. It is one closed set for the whole product: the
// event's field, the metric's label and the report's column are the same word (see String).
// The numbers are part of the format.
type Reason uint8

const (
	// Counted is no reason at all: the event counts.
	Counted Reason = iota
	// OptedOut: the person refused opens, or clicks, or unsubscribed with tracking.
	OptedOut
	// PlainText: the person asked for plain text, which means no tracking whatever.
	PlainText
	// GPC: the request carried Sec-GPC: 1. The function is kept, the person is not attributed.
	GPC
	// NoBasis: nothing is known of the person and the configured basis is "none".
	NoBasis
	// AggregateOnly: the configured basis is "aggregate"; the mail carried no person. It is a
	// reason of the population (who can't be in a rate), never of an event: such events count.
	AggregateOnly
	// UnknownCampaign: an authentic token of a campaign that the control log does not hold.
	UnknownCampaign
	// UnknownLink: an authentic token of a link that is not registered. Edge metric only.
	UnknownLink
	// Forged: the token has the right shape and does not authenticate. Edge metric only.
	Forged
	// Malformed: the path holds nothing that could be a token. Edge metric only.
	Malformed
	// SpoolFailed: the event could not be made durable. Edge metric only; readiness fails too.
	SpoolFailed
	// Quarantined: the record was damaged on disk or in the topic and was set aside.
	Quarantined
	// DateOnly: the person, or the campaign, has nothing kept but the date of the last activity. The one
	// reason with which an event may go with its person, and then with the day (see SuppressToDate).
	DateOnly

	reasonCount
)

// Signals are what the request's headers and address told, one bit each. They are worked out at
// the edge, and the headers and the address are then forgotten. The bits are part of the format.
type Signals uint16

const (
	// BareMozilla: the User-Agent is exactly "Mozilla/5.0" (mail privacy prefetch).
	BareMozilla Signals = 1 << iota
	// AppleEgress: the address is in Apple's published egress list.
	AppleEgress
	// GmailPrefetch: the User-Agent of Gmail's prefetch.
	GmailPrefetch
	// GoogleProxy: Google's image proxy.
	GoogleProxy
	// YahooProxy: Yahoo's image proxy.
	YahooProxy
	// OtherProxy: another mail provider's image proxy.
	OtherProxy
	// Prefetch: a Sec-Purpose, Purpose, X-Moz or X-Purpose header announces prefetch or preview.
	Prefetch
	// Automaton: a library, a crawler or a security scanner by its own name.
	Automaton
	// NoAgent: an empty or missing User-Agent.
	NoAgent
	// DataCentre: the address is in a data-centre range (means something only with a burst).
	DataCentre
	// HiddenLink: the link is one that no person can see.
	HiddenLink
)

// Client is the family of the mail client or browser, as far as the request told. The numbers are
// part of the format.
type Client uint8

const (
	OtherClient Client = iota
	AppleMail
	Gmail
	Outlook
	YahooMail
	Thunderbird
	SamsungMail
	Chrome
	Safari
	Firefox
	Edge
	Opera

	clientCount
)

// Event is one observation. It is a plain value: copy it freely.
type Event struct {
	// Time is when the request came, in milliseconds since the Unix epoch, UTC. For a suppressed
	// event (Reason other than Counted) it is the start of the hour, and of the day where it has a Subject.
	Time int64
	// Subject is the keyed hash of the person's address, 0 for nobody.
	Subject uint64
	// Campaign is the campaign's number, from 1.
	Campaign uint32
	// Link is the link's number within the campaign, from 1; 0 for an open.
	Link uint16
	// Signals is what the request told of its sender.
	Signals Signals
	// Kind is what happened.
	Kind Kind
	// Reason is why it does not count, or Counted.
	Reason Reason
	// Client is the client's family.
	Client Client
}

const (
	hour = 60 * 60 * 1000
	day  = 24 * hour
)

// Suppress turns e into what may be kept of an event that must not be counted: campaign, kind,
// reason and hour. The person, the link and every signal are gone afterwards.
func (e *Event) Suppress(r Reason) {
	*e = Event{Time: e.Time - e.Time%hour, Campaign: e.Campaign, Kind: e.Kind, Reason: r}
}

// DateSignals are what a click that SuppressToDate left may still tell of itself: that a machine followed a link which
// people do not see, or that a machine made it.
const DateSignals = HiddenLink | Automaton

// SuppressToDate turns e into what is needed to know the date of a person's activity from what a machine did, and nothing
// besides: person, campaign, kind and day, under the reason DateOnly.
func (e *Event) SuppressToDate() {
	*e = Event{Time: e.Time - e.Time%day, Subject: e.Subject, Campaign: e.Campaign, Kind: e.Kind, Reason: DateOnly}
}

// Dated says whether e goes with its person for the sake of the date alone.
func (e *Event) Dated() bool { return e.Reason == DateOnly && e.Subject != 0 }

var kindNames = [...]string{Open: "open", Click: "click", Probe: "probe"}

var reasonNames = [...]string{
	Counted: "counted", OptedOut: "opted_out", PlainText: "plain_text", GPC: "gpc", NoBasis: "no_basis",
	AggregateOnly: "aggregate_only", UnknownCampaign: "unknown_campaign", UnknownLink: "unknown_link",
	Forged: "forged", Malformed: "malformed", SpoolFailed: "spool_failed", Quarantined: "quarantined",
	DateOnly: "date_only",
}

var clientNames = [...]string{
	OtherClient: "other", AppleMail: "apple_mail", Gmail: "gmail", Outlook: "outlook", YahooMail: "yahoo_mail",
	Thunderbird: "thunderbird", SamsungMail: "samsung_mail", Chrome: "chrome", Safari: "safari",
	Firefox: "firefox", Edge: "edge", Opera: "opera",
}

// String is the kind's word, "invalid" outside the set.
func (k Kind) String() string {
	if k < Open || k > Probe {
		return "invalid"
	}
	return kindNames[k]
}

// String is the reason's word in metrics, reports and logs, "invalid" outside the set.
func (r Reason) String() string {
	if r >= reasonCount {
		return "invalid"
	}
	return reasonNames[r]
}

// String is the client family's word, "invalid" outside the set.
func (c Client) String() string {
	if c >= clientCount {
		return "invalid"
	}
	return clientNames[c]
}

// Reasons lists the closed set in its order, Counted first.
func Reasons() []Reason {
	all := make([]Reason, reasonCount)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}
