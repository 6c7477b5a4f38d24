// Package campaign is what was sent and where its links lead: campaigns, links and deliveries,
// folded from the control log. Registry answers, at wire speed where the redirect asks; Writer
// changes, through the log.
package campaign

import (
	"errors"
	"time"

	"mailbeacon/internal/control"
)

// Limits. Texts are measured in bytes.
const (
	MaxName       = 64
	MaxTitle      = 300
	MaxLabel      = 300
	MaxAdvertiser = 100
	MaxDelivery   = 128 // a delivery's id
	MaxURL        = 8192
	// MaxNumber is the highest number of a campaign.
	MaxNumber = 1<<24 - 1
	// MaxLinks is the highest number of a link, and how many a campaign can have.
	MaxLinks = 1<<16 - 2
	// MaxCount bounds the numbers of one delivery, so that sums can't overflow.
	MaxCount = 1_000_000_000_000
)

// Errors that a caller may want to tell apart; they come wrapped. What is wrong with a value is
// told by an *InvalidError.
var (
	ErrExists   = errors.New("exists already")
	ErrNotFound = errors.New("not found")
	ErrFull     = errors.New("no number is left")
)

// InvalidError names a field that can't be taken, and why; never its value.
type InvalidError = control.InvalidError

// Campaign is one mailing.
type Campaign struct {
	Name    string
	Number  uint32 // from 1; part of every token
	Title   string
	Created time.Time
	// DateOnly: nothing is kept of its opens and clicks but the date of each person's last activity.
	DateOnly bool
	Links    int // links registered, hidden ones too
	// Delivered and Bounced are the sums over all deliveries.
	Delivered uint64
	Bounced   uint64
}

// Link is one destination of a campaign.
type Link struct {
	Number     uint16 // from 1; part of every token. Ignored where a link is added.
	URL        string // byte for byte what a click is sent to
	Label      string
	Advertiser string
	Hidden     bool // no person can see it: who follows it is a machine
}

// Delivery is what a mailer reports of one batch. The same id again replaces what it said before.
type Delivery struct {
	ID        string
	Delivered uint64
	Bounced   uint64
}
