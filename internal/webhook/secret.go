package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strings"
)

// Secret is what sender and receiver share. It does not print.
type Secret struct{ key []byte }

const (
	secretPrefix = "whsec_"
	leastSecret  = 24 // bytes
	mostSecret   = 64
)

// ReadSecret reads a file that holds "whsec_" and 24 to 64 bytes in base64. The error holds nothing of it.
func ReadSecret(path string) (Secret, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Secret{}, err
	}
	return parseSecret(string(b))
}

func parseSecret(text string) (Secret, error) {
	encoded, found := strings.CutPrefix(strings.TrimSpace(text), secretPrefix)
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !found || err != nil || len(key) < leastSecret || len(key) > mostSecret {
		return Secret{}, fmt.Errorf("holds no secret; right would be %s and %d to %d random bytes in base64: echo \"%s$(openssl rand -base64 32)\"",
			secretPrefix, leastSecret, mostSecret, secretPrefix)
	}
	return Secret{key}, nil
}

// String keeps the secret out of logs.
func (Secret) String() string { return "secret" }

// GoString is String.
func (Secret) GoString() string { return "secret" }

// sign is the header's value: HMAC-SHA256 of id, time and body, as Standard Webhooks has it.
func (s Secret) sign(id string, unix int64, body []byte) string {
	h := hmac.New(sha256.New, s.key)
	fmt.Fprintf(h, "%s.%d.", id, unix)
	h.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// CheckURL says what is wrong with a receiver's address, to be read after its name: it has to be https, or
// http on this machine, without user and fragment.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.Opaque != "" {
		return errors.New("is none; right would be https://HOST/PATH")
	}
	switch {
	case u.User != nil:
		return errors.New("holds a user or a password; the signature tells the receiver who sends")
	case u.Fragment != "":
		return errors.New("holds a fragment, which is never sent")
	case u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return errors.New("is not of https; http is for this machine alone")
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}
