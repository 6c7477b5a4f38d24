package token

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"mailbeacon/internal/subject"
)

// fileVersion is the newest version of the keyring file that this build reads. A file is written as
// version 1 while no key of it has anything that version 2 adds, so that older builds go on reading it.
const fileVersion = 2

// Bounds of a keyring file.
const (
	maxFile = 1 << 20 // bytes
	maxID   = 255
)

// file is a keyring file's content, checked.
type file struct {
	subjectKey []byte
	keys       []fileKey // in the order of their ids
}

type fileKey struct {
	KeyInfo
	secret []byte // nil for a retired key whose secret was thrown away
	verify []byte // of such a key: what its receipts are verified with; nil where that is lost too
}

// receiptPublic is what receipts of the key are verified with, nil where that is lost.
func (k *fileKey) receiptPublic() ed25519.PublicKey {
	if k.secret != nil {
		return receiptKey(k.secret).Public().(ed25519.PublicKey)
	}
	return k.verify
}

// wireFile and wireKey are the file as JSON has it. Secrets and times are read as text and parsed
// here, since the errors of encoding/json and time quote what they could not read.
type wireFile struct {
	Version    int       `json:"version"`
	SubjectKey string    `json:"subject_key"`
	Keys       []wireKey `json:"keys"`
}

type wireKey struct {
	ID      int      `json:"id"`
	State   KeyState `json:"state"`
	Created string   `json:"created"`
	Secret  string   `json:"secret,omitempty"`
	Verify  string   `json:"verify,omitempty"`
}

// ErrNewerFile is returned, wrapped, for a keyring file of a version that this build does not know.
var ErrNewerFile = errors.New("written by a newer mailbeacon")

// parseFile reads and checks a keyring file. Its errors name the cause and hold nothing of any
// secret.
func parseFile(content []byte) (*file, error) {
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(content, &head); err != nil {
		return nil, jsonError(err)
	}
	switch {
	case head.Version < 1:
		return nil, errors.New("it has no version: not a keyring file")
	case head.Version > fileVersion:
		return nil, fmt.Errorf("%w (version %d, this one knows %d)", ErrNewerFile, head.Version, fileVersion)
	}
	var w wireFile
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return nil, jsonError(err)
	}
	return w.check()
}

// jsonError is a decoding error without what was decoded: that may be a secret in the wrong place.
func jsonError(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("it is not JSON (byte %d)", syntax.Offset)
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("its field %s has the wrong type (byte %d)", kind.Field, kind.Offset)
	case errors.As(err, &kind):
		return errors.New("it is not a JSON object")
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return errors.New("it is not JSON: it ends too early")
	}
	// What is left is a field's name, said in words only.
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok && len(name) <= longestName {
		return fmt.Errorf("it has a field %s that this build does not know", name)
	}
	return errors.New("it has a field that this build does not know")
}

// longestName is how much of an unknown field's name an error shows; a secret is longer.
const longestName = 34

func (w *wireFile) check() (*file, error) {
	f := &file{}
	var err error
	if f.subjectKey, err = parseSecret(w.SubjectKey, subject.KeySize); err != nil {
		return nil, fmt.Errorf("its subject_key %w", err)
	}
	active := 0
	for i := range w.Keys {
		k, err := w.Keys[i].check()
		if err != nil {
			return nil, fmt.Errorf("its key number %d (id %d): %w", i+1, w.Keys[i].ID, err)
		}
		if k.State == Active {
			active++
		}
		f.keys = append(f.keys, k)
	}
	slices.SortFunc(f.keys, func(a, b fileKey) int { return cmp.Compare(a.ID, b.ID) })
	for i := 1; i < len(f.keys); i++ {
		if f.keys[i].ID == f.keys[i-1].ID {
			return nil, fmt.Errorf("two of its keys have the id %d", f.keys[i].ID)
		}
	}
	if active != 1 {
		return nil, fmt.Errorf("%d of its keys are active; one must be", active)
	}
	return f, nil
}

func (w *wireKey) check() (k fileKey, err error) {
	if w.ID < 1 || w.ID > maxID {
		return k, fmt.Errorf("an id is from 1 to %d", maxID)
	}
	k.ID, k.State = uint8(w.ID), w.State
	switch w.State {
	case Active, Live, Retired:
	default:
		return k, fmt.Errorf("its state is none of %s, %s, %s", Active, Live, Retired)
	}
	created, err := time.Parse(time.RFC3339, w.Created)
	if k.Created = created.UTC(); err != nil || k.Created.Year() < 0 || k.Created.Year() > 9999 {
		return k, errors.New("its created is no RFC 3339 time")
	}
	if w.Verify != "" && w.State != Retired {
		return k, errors.New("its verify is for retired keys alone")
	}
	if w.Secret == "" && w.State == Retired {
		if w.Verify != "" {
			if k.verify, err = parseSecret(w.Verify, ed25519.PublicKeySize); err != nil {
				return k, fmt.Errorf("its verify %w", err)
			}
		}
		return k, nil
	}
	if k.secret, err = parseSecret(w.Secret, SecretSize); err != nil {
		return k, fmt.Errorf("its secret %w", err)
	}
	return k, nil
}

func parseSecret(text string, size int) ([]byte, error) {
	secret, err := base64.StdEncoding.Strict().DecodeString(text)
	switch {
	case text == "":
		return nil, errors.New("is missing")
	case err != nil:
		return nil, errors.New("is not base64")
	case len(secret) != size:
		return nil, fmt.Errorf("has %d bytes, not %d", len(secret), size)
	}
	return secret, nil
}

// format writes the file as it is read.
func (f *file) format() ([]byte, error) {
	w := wireFile{Version: 1, SubjectKey: base64.StdEncoding.EncodeToString(f.subjectKey)}
	for _, k := range f.keys {
		w.Keys = append(w.Keys, wireKey{
			ID:      int(k.ID),
			State:   k.State,
			Created: k.Created.Format(time.RFC3339Nano),
			Secret:  base64.StdEncoding.EncodeToString(k.secret),
			Verify:  base64.StdEncoding.EncodeToString(k.verify),
		})
		if k.verify != nil {
			w.Version = 2
		}
	}
	b, err := json.MarshalIndent(w, "", "  ")
	return append(b, '\n'), err
}
