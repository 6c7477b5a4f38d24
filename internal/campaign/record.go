package campaign

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"mailbeacon/internal/control"
)

// campaignBody is the content of a campaign's record; its key is the name. Number and hash key are
// what tells a campaign from a rival's of the same name.
type campaignBody struct {
	Number   uint32    `json:"number"`
	Title    string    `json:"title"`
	Created  time.Time `json:"created"`
	HashKey  hexKey    `json:"hash_key"`
	DateOnly bool      `json:"date_only,omitempty"`
}

// linkBody is the content of a link's record; its key is name/number. The id is drawn when the link
// is added and tells it from a rival's of the same number.
type linkBody struct {
	ID         string `json:"id"`
	URL        string `json:"url"`
	Label      string `json:"label,omitempty"`
	Advertiser string `json:"advertiser,omitempty"`
	Hidden     bool   `json:"hidden,omitempty"`
}

// deliveryBody is the content of a delivery's record; its key is name/id.
type deliveryBody struct {
	Delivered uint64 `json:"delivered"`
	Bounced   uint64 `json:"bounced"`
}

// hexKey is a sketch key, in JSON as 32 hex digits.
type hexKey [16]byte

func (k hexKey) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, k[:]), nil }

func (k *hexKey) UnmarshalText(b []byte) error {
	if len(b) != 2*len(k) {
		return errors.New("hash key is not 32 hex digits")
	}
	_, err := hex.Decode(k[:], b)
	return err
}

func newRecord(kind control.Kind, key string, body any) (control.Record, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return control.Record{}, fmt.Errorf("encode a %s record: %w", kind, err)
	}
	return control.Record{Kind: kind, Key: key, Time: time.Now(), Body: b}, nil
}

func linkKey(name string, number uint16) string { return name + "/" + strconv.Itoa(int(number)) }

func deliveryKey(name, id string) string { return name + "/" + id }

// Parsing is lenient where validation is strict: what was once taken must keep its meaning, so the
// fold checks only what it relies on. Errors hold nothing of the content.

var (
	errBody = errors.New("its body is not of the right form")
	errKey  = errors.New("its key is not of the right form")
)

func parseCampaign(e *control.Entry) (about, error) {
	var b campaignBody
	if json.Unmarshal(e.Body, &b) != nil {
		return about{}, errBody
	}
	if CheckName(e.Key) != nil {
		return about{}, errKey
	}
	if b.Number == 0 || b.Number > MaxNumber {
		return about{}, errors.New("its number is out of range")
	}
	return about{number: b.Number, title: b.Title, created: b.Created.UTC(), key: b.HashKey, dateOnly: b.DateOnly}, nil
}

func parseLink(e *control.Entry) (name string, number uint16, l *link, err error) {
	name, text, ok := strings.Cut(e.Key, "/")
	n, nerr := strconv.ParseUint(text, 10, 16)
	if !ok || nerr != nil || n == 0 || n > MaxLinks || linkKey(name, uint16(n)) != e.Key || CheckName(name) != nil {
		return "", 0, nil, errKey
	}
	var b linkBody
	if json.Unmarshal(e.Body, &b) != nil {
		return "", 0, nil, errBody
	}
	if !safe(b.URL) {
		return "", 0, nil, errors.New("its URL is none to redirect to")
	}
	return name, uint16(n), &link{id: b.ID, url: []byte(b.URL), label: b.Label, advertiser: b.Advertiser, hidden: b.Hidden}, nil
}

// safe is the part of CheckURL that the redirect relies on, whatever a log or a snapshot holds: the
// URL is absolute, and can't break out of a header.
func safe(url string) bool {
	_, ok := cutScheme(url)
	return ok && len(url) <= MaxURL && !strings.ContainsFunc(url, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

func parseDelivery(e *control.Entry) (name string, d Delivery, err error) {
	name, id, ok := strings.Cut(e.Key, "/")
	if !ok || id == "" || CheckName(name) != nil {
		return "", Delivery{}, errKey
	}
	var b deliveryBody
	if json.Unmarshal(e.Body, &b) != nil {
		return "", Delivery{}, errBody
	}
	if b.Delivered > MaxCount || b.Bounced > MaxCount {
		return "", Delivery{}, errors.New("its numbers are out of range")
	}
	return name, Delivery{ID: id, Delivered: b.Delivered, Bounced: b.Bounced}, nil
}
