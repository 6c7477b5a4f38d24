package consent

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailbeacon/internal/control"
)

// The first line of a receipt; FORMAT.md is the specification. The second form is of decisions on tracking.
const (
	receiptBegins = "mailbeacon consent receipt " // whatever its form

	receiptTitle  = receiptBegins + "1\n"
	receiptTitle2 = receiptBegins + "2\n"
)

// receiptLines are the names of a receipt's lines, in order; the last is the signature.
func receiptLines(title string) []string {
	names := []string{"subject", "position", "time", "opens", "clicks", "format", "mail", string(fieldTracking), "source", "text", "by", "key", "signature"}
	if title == receiptTitle2 {
		return names
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == string(fieldTracking) })
}

const receiptTime = "2006-01-02T15:04:05.000Z"

// maxReceipt bounds a receipt, in bytes.
const maxReceipt = 2 << 10

// Receipt is what is given to whoever decided: what stands in the ledger, signed. key is the number of the
// key that sign signs with. The same decision under the same key makes the same bytes, always.
func (r *Recorded) Receipt(key uint8, sign func(text []byte) []byte) string {
	text := r.receiptText(key)
	return text + receiptLine("signature", base64.StdEncoding.EncodeToString(sign([]byte(text))))
}

// receiptText is what is signed.
func (r *Recorded) receiptText(key uint8) string {
	values := map[string]string{
		"subject": fmt.Sprintf("%016x", r.Subject), "position": strconv.FormatUint(uint64(r.Position), 10), "time": r.Time.UTC().Format(receiptTime),
		"source": r.Source, "text": r.TextVersion, "by": r.By, "key": strconv.Itoa(int(key)),
	}
	for _, f := range fields {
		values[string(f)], _ = r.value(f)
	}
	title := receiptTitle
	if r.Tracking != TrackingUnset {
		title = receiptTitle2
	}
	var b strings.Builder
	b.WriteString(title)
	names := receiptLines(title)
	for _, name := range names[:len(names)-1] {
		b.WriteString(receiptLine(name, values[name]))
	}
	return b.String()
}

func receiptLine(name, value string) string {
	if value == "" {
		return name + ":\n"
	}
	return name + ": " + value + "\n"
}

// What can be wrong with a receipt.
var (
	ErrNoReceipt  = errors.New("this is no receipt of mailbeacon, or something of it was changed")
	ErrOtherKey   = errors.New("none of the keys given is the one that the receipt names")
	ErrBadReceipt = errors.New("the signature does not fit: the receipt was changed, or is not by this key")
)

// VerifyReceipt reads a receipt that one of the keys signed; by are the keys by their numbers. It needs
// neither log nor ledger. A receipt of which any byte was changed is refused.
func VerifyReceipt(text string, by map[uint8]ed25519.PublicKey) (Recorded, error) {
	r, key, signature, err := parseReceipt(text)
	if err != nil {
		return Recorded{}, err
	}
	public, ok := by[key]
	if !ok {
		return Recorded{}, fmt.Errorf("%w: key %d", ErrOtherKey, key)
	}
	signed := r.receiptText(key)
	if len(public) != ed25519.PublicKeySize || !ed25519.Verify(public, []byte(signed), signature) {
		return Recorded{}, ErrBadReceipt
	}
	return r, nil
}

// parseReceipt reads the one form in which a receipt can be written.
func parseReceipt(text string) (r Recorded, key uint8, signature []byte, err error) {
	title, _, _ := strings.Cut(text, "\n")
	title += "\n"
	rest, ok := strings.CutPrefix(text, title)
	if !ok || len(text) > maxReceipt || title != receiptTitle && title != receiptTitle2 {
		return r, 0, nil, ErrNoReceipt
	}
	values := map[string]string{}
	for _, name := range receiptLines(title) {
		line, after, ended := strings.Cut(rest, "\n")
		value, named := strings.CutPrefix(line, name+":")
		if !ended || !named {
			return r, 0, nil, ErrNoReceipt
		}
		values[name], rest = strings.TrimPrefix(value, " "), after
	}
	var errs [10]error
	var position, number uint64
	r.Subject, errs[0] = strconv.ParseUint(values["subject"], 16, 64)
	position, errs[1] = strconv.ParseUint(values["position"], 10, 64)
	r.Time, errs[2] = time.Parse(receiptTime, values["time"])
	r.Opens, errs[3] = ParseState(values["opens"])
	r.Clicks, errs[4] = ParseState(values["clicks"])
	r.Format, errs[5] = ParseFormat(values["format"])
	r.Tracking, errs[9] = ParseTracking(values["tracking"])
	number, errs[6] = strconv.ParseUint(values["key"], 10, 8)
	signature, errs[7] = base64.StdEncoding.Strict().DecodeString(values["signature"])
	switch values["mail"] {
	case "":
	case subscribed, unsubscribed:
		r.Unsubscribed = new(values["mail"] == unsubscribed)
	default:
		errs[8] = ErrNoReceipt
	}
	key = uint8(number)
	r.Position = control.Position(position)
	r.Source, r.TextVersion, r.By = values["source"], values["text"], values["by"]
	if errors.Join(errs[:]...) != nil || r.Check() != nil || r.receiptText(key)+receiptLine("signature", base64.StdEncoding.EncodeToString(signature)) != text {
		return r, 0, nil, ErrNoReceipt
	}
	return r, key, signature, nil
}
