package web

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mailbeacon/internal/datadir"
)

// KeyFile holds the key that sessions are signed with. Without it, or with another, everybody has to sign in anew.
const KeyFile = "session.key"

const keyBytes = 32

// ensureKey reads the data folder's key, and makes it where there is none. A file that others can read is refused.
func ensureKey(dir string) ([]byte, error) {
	name := filepath.Join(dir, KeyFile)
	if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		var b [keyBytes]byte
		rand.Read(b[:]) // never fails
		if err := datadir.WriteFile(name, []byte(hex.EncodeToString(b[:])+"\n"), 0o600); err != nil {
			return nil, fmt.Errorf("make the key of sessions: %w", err)
		}
	}
	return readKey(name)
}

func readKey(name string) ([]byte, error) {
	b, err := datadir.ReadPrivate(name, 4<<10)
	if exposed, ok := errors.AsType[*datadir.ExposedError](err); ok {
		return nil, fmt.Errorf("%w, and remove it first if anybody may have read it: the next start makes a new one", exposed)
	}
	if err != nil {
		return nil, fmt.Errorf("read the key of sessions: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(key) != keyBytes {
		return nil, fmt.Errorf("%s holds no key; remove it, and the next start makes a new one", name)
	}
	return key, nil
}

// Examine says whether what a data folder holds of sessions can be used, where it holds anything, and changes nothing.
func Examine(dir string) error {
	if _, err := readKey(filepath.Join(dir, KeyFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, err := readEnded(filepath.Join(dir, endedFile))
	return err
}

// seal signs values of one purpose: what was signed for another does not hold. Everybody can read what is signed.
// It may be used concurrently.
//
// This is less than a library of signed cookies brings, and all that is needed: one key, one algorithm, the standard library's.
type seal struct{ key []byte }

func newSeal(key []byte, purpose string) seal {
	k, err := hkdf.Key(sha256.New, key, nil, "mailbeacon "+purpose, sha256.Size)
	if err != nil { // of lengths that do not fit
		panic(err)
	}
	return seal{k}
}

const mostSealed = 2048 // bytes of a sealed value; nobody else's work is begun for more

// mac is the signature of a text.
func (s seal) mac(text string) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// word is mac as a text.
func (s seal) word(text string) string { return base64.RawURLEncoding.EncodeToString(s.mac(text)) }

// sign writes a value and its signature, in letters that a cookie may hold.
func (s seal) sign(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // the types here always have a form
		panic(err)
	}
	text := base64.RawURLEncoding.EncodeToString(b)
	return text + "." + s.word(text)
}

// open reads what sign wrote; false for anything else.
func (s seal) open(sealed string, v any) bool {
	if len(sealed) > mostSealed {
		return false
	}
	text, mac, ok := strings.Cut(sealed, ".")
	if !ok || subtle.ConstantTimeCompare([]byte(mac), []byte(s.word(text))) != 1 {
		return false
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	return err == nil && json.Unmarshal(b, v) == nil
}

// newID makes a number of 256 random bits, as a text.
func newID() string {
	var b [32]byte
	rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}
