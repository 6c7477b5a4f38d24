package report

import (
	"time"

	"mailbeacon/internal/campaign"
)

// Subject is the campaign that is asked about.
type Subject struct {
	Name      string
	Title     string
	Number    uint32
	Created   time.Time
	DateOnly  bool
	Delivered uint64 // as the mailer reported
	Bounced   uint64
	Links     []Link // ascending by number
}

// Link is a registered link.
type Link struct {
	Number     uint16
	URL        string
	Label      string
	Advertiser string
	Hidden     bool // no person sees it
}

// SubjectOf is a registered campaign; an overview does without its links.
func SubjectOf(c campaign.Campaign, links []campaign.Link) Subject {
	s := Subject{
		Name: c.Name, Title: c.Title, Number: c.Number, Created: c.Created, DateOnly: c.DateOnly, Delivered: c.Delivered, Bounced: c.Bounced,
		Links: make([]Link, 0, len(links)),
	}
	for _, l := range links {
		s.Links = append(s.Links, Link{Number: l.Number, URL: l.URL, Label: l.Label, Advertiser: l.Advertiser, Hidden: l.Hidden})
	}
	return s
}
