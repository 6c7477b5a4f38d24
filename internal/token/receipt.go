package token

import (
	"bufio"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// receiptLabel sets what signs receipts apart from what makes tokens, though both come of one secret.
const receiptLabel = "mailbeacon receipt 1"

// receiptKey is the Ed25519 key (RFC 8032) of a key's secret.
func receiptKey(secret []byte) ed25519.PrivateKey {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(receiptLabel))
	return ed25519.NewKeyFromSeed(mac.Sum(nil))
}

// ReceiptKey verifies receipts. It is no secret.
type ReceiptKey struct {
	ID     uint8
	Public ed25519.PublicKey
}

// ReceiptKeys are the keys that receipts were ever signed with, by their ids: also those of retired keys,
// but for keys retired by builds that kept nothing of them.
func (k *Keyring) ReceiptKeys() []ReceiptKey { return append([]ReceiptKey(nil), k.receipts...) }

// ReceiptSigner is the key that receipts are signed with now: that of the active key.
func (k *Keyring) ReceiptSigner() (id uint8, sign func(text []byte) []byte) {
	return k.active.id, func(text []byte) []byte { return ed25519.Sign(k.signer, text) }
}

// keyLine is how a line of a file of verifying keys begins.
const keyLine = "mailbeacon-receipt-key"

// String is the key as a line of a file: the word, the key's number, and the key in base64.
func (r ReceiptKey) String() string {
	return fmt.Sprintf("%s %d %s", keyLine, r.ID, base64.StdEncoding.EncodeToString(r.Public))
}

// ErrNoReceiptKeys is returned for a file that holds no verifying keys.
var ErrNoReceiptKeys = errors.New("it holds no verifying key; `mailbeacon keyring public` prints them")

// ParseReceiptKeys reads a file of verifying keys, one a line as String writes them. Empty lines and
// those that begin with # are passed over.
func ParseReceiptKeys(text string) (map[uint8]ed25519.PublicKey, error) {
	all := map[uint8]ed25519.PublicKey{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if len(words) != 3 || words[0] != keyLine {
			return nil, fmt.Errorf("line %d is no verifying key; `mailbeacon keyring public` prints them", n)
		}
		id, err := strconv.ParseUint(words[1], 10, 8)
		public, perr := base64.StdEncoding.Strict().DecodeString(words[2])
		if err != nil || id == 0 || perr != nil || len(public) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("line %d is a damaged verifying key", n)
		}
		if had, ok := all[uint8(id)]; ok && !had.Equal(ed25519.PublicKey(public)) {
			return nil, fmt.Errorf("line %d: there are two keys of the number %d; keep those of each keyring in a file of their own", n, id)
		}
		all[uint8(id)] = public
	}
	if len(all) == 0 {
		return nil, ErrNoReceiptKeys
	}
	return all, lines.Err()
}
