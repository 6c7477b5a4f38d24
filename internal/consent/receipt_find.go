package consent

import (
	"errors"
	"strings"
)

// receiptBegins is how every receipt's first line begins, whatever its version.
const receiptBegins = "mailbeacon consent receipt "

// ErrManyReceipts is returned for a text that holds more than one receipt: one is verified at a time.
var ErrManyReceipts = errors.New("it holds more than one receipt; right would be one at a time")

// FindReceipt returns the receipt in a text that it was copied or sent in: the answer to a one-click request, a
// mail, a page. What is around it goes, and so do the line ends of other systems; within its lines nothing is mended.
// A text without a receipt comes back as it is, for VerifyReceipt to refuse.
func FindReceipt(text string) (string, error) {
	var found strings.Builder
	within := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, receiptBegins) {
			if found.Len() > 0 {
				return "", ErrManyReceipts
			}
			within = true
		}
		if within {
			found.WriteString(line + "\n")
			within = !strings.HasPrefix(line, "signature:")
		}
	}
	if found.Len() == 0 {
		return text, nil
	}
	return found.String(), nil
}
